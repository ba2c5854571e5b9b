"""What a predictor is spared: frames that show nothing, borders, logos. It is given the rest as a clip of its own.

That is the same for every predictor. Frames that are left out get a camera between those of their neighbors, or the
camera of the frame that they repeat; neither they nor anything that lies over the picture is observed
(`scene.observed`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.spatial.transform import Rotation, RotationSpline

from dynamic_predictor.driver.shots import part_of_clip
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.footage.overlays import Overlays, find_overlays
from dynamic_predictor.footage.shots import Reason, Shot
from scene.camera import Camera
from scene.frames import Frames
from scene.given_masks.opening import GivenMasks
from scene.maps import FrameMaps, LoadedMaps
from scene.observed import joined
from scene.rotations import affine_matrix
from scene.scene import Scene

_LEFT_OUT = "prepared"
#: longest gap between cameras that is interpolated by a curve, in frames
_SHORT_GAP = 8
#: smallest side of what borders leave
_LEAST_SIDE = 32
_WORDS: dict[Reason, str] = {
    "black": "black",
    "white": "white",
    "one color": "of one color",
    "flash": "lit by a flash",
    "interruption": "showing something else for a moment",
    "repetition": "repeating the frame before",
    "faded": "fading",
}


@dataclass(frozen=True)
class Preparation:
    """What is left out of the `count` frames of a shot, which are numbered from 0."""

    shot: Shot
    overlays: Overlays | None
    #: (height, width) of the frames
    size: tuple[int, int]

    @staticmethod
    def of(frames: Frames, shot: Shot, *, with_overlays: bool = True) -> "Preparation":
        """What is to be left out of the frames of a shot; its `start` is 0."""
        if not with_overlays:
            return Preparation(shot, None, (frames.height, frames.width))
        overlays = find_overlays(frames, [frame for frame in shot.predicted if frame not in shot.faded])
        if overlays is not None:
            rows, columns = overlays.content()
            if min(rows.stop - rows.start, columns.stop - columns.start) < _LEAST_SIDE:
                overlays = None
        return Preparation(shot, overlays, (frames.height, frames.width))

    @staticmethod
    def nothing(frames: Frames) -> "Preparation":
        """All frames and pixels are used."""
        return Preparation(Shot(0, len(frames)), None, (frames.height, frames.width))

    @property
    def leaves_out(self) -> bool:
        return bool(self.shot.left_out or self.shot.faded) or self.overlays is not None

    @property
    def content(self) -> tuple[slice, slice]:
        """Rows and columns that a predictor is given."""
        height, width = self.size
        return (slice(0, height), slice(0, width)) if self.overlays is None else self.overlays.content()

    @property
    def is_cropped(self) -> bool:
        rows, columns = self.content
        return (rows.stop - rows.start, columns.stop - columns.start) != self.size

    def clip(self, workspace: StreamWorkspace) -> StreamWorkspace:
        """The frames that a predictor is given, in the folder of `workspace`; itself where nothing is left out."""
        kept = self.shot.predicted
        if not self.shot.left_out and self.overlays is None:
            return workspace
        part = part_of_clip(workspace, kept, _LEFT_OUT) if not self.is_cropped else self._cropped(workspace, kept)
        if self.overlays is not None and self.overlays.inside.any():
            rows, columns = self.content
            covered = self.overlays.covered[rows, columns]
            alpha = workspace.observed(kept)
            for place in range(len(part)):
                values = np.where(covered, 0.0, 1.0 if alpha is None else alpha[place][rows, columns])
                part.write_observed(place, np.rint(255.0 * values).astype(np.uint8))
        return part

    def _cropped(self, workspace: StreamWorkspace, kept: Sequence[int]) -> StreamWorkspace:
        rows, columns = self.content
        settings = {"frames": list(kept), "content": [rows.start, rows.stop, columns.start, columns.stop]}
        folder = workspace.folder / _LEFT_OUT
        part = StreamWorkspace(folder, settings, resume=folder.exists())
        if part.frames_complete:
            return part
        part = StreamWorkspace(folder, settings, resume=False)
        frames, alpha = workspace.frames(kept), workspace.observed(kept)
        for place, index in enumerate(kept):
            seen = None if alpha is None else alpha[place][rows, columns]
            part.append(
                workspace.times[index],
                np.ascontiguousarray(frames.rgb8(place)[rows, columns]),
                position=workspace.positions[index],
                observed=None if seen is None else np.rint(255.0 * seen).astype(np.uint8),
            )
        part.finish_frames()
        return part

    def of_the_clip(self, maps: FrameMaps | None) -> FrameMaps | None:
        """Of maps of the whole shot, those of the frames and pixels that a predictor is given."""
        if maps is None:
            return None
        kept, (rows, columns) = self.shot.predicted, self.content
        return LoadedMaps(len(kept), lambda place: maps[kept[place]][rows, columns])

    def of_given_masks(self, given: GivenMasks) -> GivenMasks:
        """The same of masks that the user gave."""
        maps = self.of_the_clip(given.maps)
        assert maps is not None
        return replace(given, maps=maps, given=given.given[self.shot.predicted])

    def observed(self) -> FrameMaps | None:
        """What the frames of the shot observed (`scene.observed`)."""
        if not self.leaves_out:
            return None
        unseen = {*self.shot.left_out, *self.shot.faded}
        seen = np.ones(self.size, np.float32)
        if self.overlays is not None:
            seen[self.overlays.covered] = 0.0
        return LoadedMaps(len(self.shot), lambda index: np.zeros_like(seen) if index in unseen else seen.copy())

    def restored(self, scene: Scene, workspace: StreamWorkspace) -> Scene:
        """The scene of the whole shot, from that of the frames that the predictor was given."""
        if not self.leaves_out:
            return scene
        sources, observed = self._sources(), self.observed()
        assert observed is not None
        rows, columns = self.content

        def whole(maps: FrameMaps | None) -> FrameMaps | None:
            if maps is None:
                return None

            def read(index: int) -> np.ndarray:
                values, source = np.zeros(self.size, np.float32), sources[index]
                if source is not None:
                    values[rows, columns] = maps[source]
                if self.overlays is not None:
                    values[self.overlays.covered] = 0.0
                return values

            return LoadedMaps(len(self.shot), read)

        left_out = {workspace.positions[i]: reason for i, reason in {**self.shot.left_out, **self.shot.faded}.items()}
        provenance: dict[str, Any] = {**scene.provenance, "left_out_frames": left_out}
        provenance["interpolated_cameras"] = sorted(self.shot.left_out)
        if self.overlays is not None:
            provenance["content"] = [columns.start, rows.start, columns.stop, rows.stop]
            provenance["covered_share"] = round(float(self.overlays.covered.mean()), 4)
        return replace(
            scene,
            frames=workspace.frames(),
            input_frames=None if scene.input_frames is None else workspace.input_frames(),
            cameras=self._cameras(scene.cameras),
            motion_masks=whole(scene.motion_masks),
            z_depths=whole(scene.z_depths),
            confidences=whole(scene.confidences),
            observed=joined(workspace.observed(), observed),
            provenance=provenance,
        )

    def _sources(self) -> list[int | None]:
        """For each frame of the shot, the frame of the predicted clip that shows the same; None where there is none."""
        place, found = -1, []
        for frame in range(len(self.shot)):
            reason = self.shot.left_out.get(frame)
            if reason is None:
                place += 1
            repeated = reason == "repetition" and found and found[-1] is not None
            found.append(place if reason is None or repeated else None)
        return found

    def _cameras(self, cameras: Sequence[Camera]) -> list[Camera]:
        """A camera for each frame of the shot, at its full size."""
        (height, width), (rows, columns) = self.size, self.content
        grown = [
            replace(one, width=width, height=height, cx=one.cx + columns.start, cy=one.cy + rows.start)
            for one in cameras
        ]
        return [
            between(grown, self.shot.predicted, frame) if source is None else grown[source]
            for frame, source in enumerate(self._sources())
        ]

    def sentences(self, title: str) -> list[str]:
        """What a person should know, one sentence each."""
        found = []
        every: dict[int, Reason] = {**self.shot.left_out, **self.shot.faded}
        for reason in dict.fromkeys(every.values()):
            frames = sorted(frame for frame, why in every.items() if why == reason)
            few = len(frames) == 1
            cameras = sum(frame in self.shot.left_out for frame in frames)
            which = f"Frame {frames[0]} of {title} is" if few else f"Frames {spans(frames)} of {title} are"
            same = "that of the frame before" if reason == "repetition" else "interpolated"
            of_camera = f"; the camera is {same}" if cameras == len(frames) else ""
            if 0 < cameras < len(frames):
                of_camera = f"; the cameras of {spans([i for i in frames if i in self.shot.left_out])} are {same}"
            found.append(f"{which} {_WORDS[reason]}: nothing else is taken from {'it' if few else 'them'}{of_camera}.")
        if self.overlays is not None:
            parts = []
            if self.overlays.borders.any():
                parts.append(f"a border ({100 * self.overlays.borders.mean():.0f} % of the picture)")
            if self.overlays.inside.any():
                parts.append(f"a logo or text ({100 * self.overlays.inside.mean():.1f} %)")
            found.append(f"{title} has {' and '.join(parts)} that never changes: it is left out as not observed.")
        return found


def between(cameras: Sequence[Camera], frames: Sequence[int], frame: int) -> Camera:
    """The camera of `frame`, interpolated from `cameras`, which belong to the ascending `frames`; beyond the ends it is
    that of the nearest frame. Over short gaps, the path is a cubic spline through two frames on either side, over long
    ones a straight line, because the motion at their ends says little about what is between."""
    later = int(np.searchsorted(frames, frame))
    if later in (0, len(frames)):
        return cameras[min(later, len(frames) - 1)]
    one, two = cameras[later - 1], cameras[later]
    share = (frame - frames[later - 1]) / (frames[later] - frames[later - 1])
    mixed: Callable[[float, float], float] = lambda a, b: float(a + share * (b - a))  # noqa: E731
    beside = 2 if frames[later] - frames[later - 1] <= _SHORT_GAP else 1
    near = range(max(0, later - beside), min(len(frames), later + beside))
    times = [float(frames[place]) for place in near]
    poses = np.stack([cameras[place].world_from_camera for place in near])
    rotation = RotationSpline(times, Rotation.from_matrix(poses[:, :3, :3]))(frame).as_matrix()
    center = make_interp_spline(times, poses[:, :3, 3], k=min(3, len(times) - 1))(frame)
    return replace(
        one,
        fx=mixed(one.fx, two.fx),
        fy=mixed(one.fy, two.fy),
        cx=mixed(one.cx, two.cx),
        cy=mixed(one.cy, two.cy),
        world_from_camera=affine_matrix(rotation, center),
    )


def spans(frames: Sequence[int]) -> str:
    """Ascending numbers as "3, 7 to 9"; long lists are cut."""
    runs = []
    for _, run in groupby(enumerate(frames), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        runs.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}")
    return ", ".join(runs[:8]) + (f" and {len(runs) - 8} more" if len(runs) > 8 else "")
