"""Makes a scene from a source of frames, for every command, predictor and benchmark.

source -> frames on the disk -> masks of the user or of another predictor -> prediction, as a whole or in chunks that
are stitched -> motion masks by the geometric stage where there are none -> scene
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from dynamic_predictor.contract import CollectionPredictor, LearnedPredictor, Prediction, Predictor, Views
from dynamic_predictor.driver.chosen_footage import chosen_footage
from dynamic_predictor.driver.chosen_views import chosen_views, undistorted_views
from dynamic_predictor.driver.intake import Intake
from dynamic_predictor.driver.known_lens import known_lens
from dynamic_predictor.driver.mask_source import mask_source
from dynamic_predictor.driver.motion_masks import BY_MOTION_STAGE, estimated_masks, predicted_masks, refined
from dynamic_predictor.driver.preparation import Preparation
from dynamic_predictor.driver.scenes import scene_of_prediction, scene_of_stream, scene_warnings
from dynamic_predictor.driver.second_predictor import second_prediction, use_depths
from dynamic_predictor.driver.settings import DriverSettings, StreamSettings
from dynamic_predictor.driver.shot_choice import WHOLE
from dynamic_predictor.driver.sources import FrameSource, open_source
from dynamic_predictor.driver.stream import OnPrediction, StreamResult, run_stream
from dynamic_predictor.driver.users_masks import GIVEN, given_by, grown_by, users_masks
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.mask_refinement.choice import required_weights
from dynamic_predictor.networks.devices import resolved_device
from dynamic_predictor.specs import create_predictor, predictor_spec
from scene.camera import focal_length
from scene.errors import InputError
from scene.frames import Frames, MemoryFrames
from scene.given_masks.growing import grown_maps
from scene.given_masks.opening import GivenMasks
from scene.images import fitted_size, resize_image
from scene.lens import Lens
from scene.maps import FrameMaps
from scene.observed import where_observed
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from scene.undistortion import undistorted_masks

Warn = Callable[[str], None]
#: a function from the frames to views with known masks, focal length or cameras
KnownClip = Callable[[Frames], Views]
#: a check of the frames and their positions in the source, which may raise `InputError`
CheckClip = Callable[[Frames, Sequence[int], tuple[int, int]], object]


@dataclass
class DrivenScene:
    """A scene, and what it was made of: the prediction of the whole clip, or the chunks of a longer one."""

    scene: Scene
    prediction: Prediction | None = None
    stream: StreamResult | None = None


class SceneDriver:
    """Makes scenes with one predictor, whose weights are loaded once."""

    def __init__(
        self,
        settings: DriverSettings,
        *,
        predictor: Predictor | None = None,
        progress: Progress = ignore_progress,
        warn: Warn = lambda sentence: None,
        **predictor_settings: object,
    ) -> None:
        """`predictor` is used instead of creating the one that the settings name; `predictor_settings` are further
        fields of its settings type. Raises `InputError` as `create_predictor` does."""
        self.settings, self.spec = settings, settings.spec
        self.progress = progress
        self._warn, self._said = warn, list[str]()
        self._given: GivenMasks | None = None
        #: where the masks of `masks_from` come from, once they were refined
        self._masks_from = ""
        self.predictor = predictor or create_predictor(
            self.spec.name,
            device=settings.device,
            seed=settings.seed,
            **{**settings.settings_of_predictor(), **predictor_settings},
        )
        self._require_weights()

    def _require_weights(self) -> None:
        """Raises `InputError` for missing weights before any frame is read, also those of a second predictor."""
        settings, predictors = self.settings, [self.predictor]
        names = set() if settings.depths_from is None else {settings.depths_from}
        if settings.masks_from is not None:
            names.add(mask_source(settings).spec.name)
        for name in names - {self.spec.name}:
            predictors.append(create_predictor(name, device=settings.device, seed=settings.seed))
        for predictor in predictors:
            if isinstance(predictor, LearnedPredictor):
                predictor.require()
        if settings.refine_masks is not None:
            required_weights(settings.refine_masks)

    def warn(self, sentence: str) -> None:
        """Tells the user, once, and notes it for the provenance of the scene."""
        if sentence not in self._said:
            self._said.append(sentence)
            self._warn(sentence)

    def scene(
        self,
        workspace: StreamWorkspace,
        *,
        source: FrameSource | None = None,
        known: KnownClip | None = None,
        stream: StreamSettings | None = None,
        descriptor_for_loops: bool = False,
        accept_damaged: bool = False,
        motion_stage: bool = True,
        together: bool = False,
        check: CheckClip = lambda frames, positions, source_size: None,
        on_prediction: OnPrediction | None = None,
    ) -> DrivenScene:
        """The scene of `source` (by default the input of the settings), whose frames, depths and masks may lie in
        `workspace`: it must exist as long as the scene.

        The clip is predicted as a whole or, where the predictor cannot take it or `stream` is given, in chunks. `known`
        replaces the masks and the angle of view of the settings. A damaged file is refused, or with
        `accept_damaged` what is readable of it is used, with a warning. Without `motion_stage`, a predictor without
        motion masks leaves the scene without them. `together`: the clip is predicted as a whole, whatever the spec says
        of the memory, because a protocol demands it. `check` is called before the prediction, where all frames are read
        before it. `on_prediction` is told of the frames of a clip that is predicted in chunks or one by one. Raises
        `InputError` for all errors that a user can correct.
        """
        self._said, self._given, self._masks_from = [], None, ""
        lens_is_known = self.settings.lens not in (None, "auto", "pinhole")
        if source is None and not workspace.frames_complete:
            source = self.open_source()
        needs_all = (
            lens_is_known
            or known is not None
            or self.settings.masks is not None
            or self.settings.masks_from is not None
        )
        # an online predictor may have settings, such as further passes, for which it needs the whole clip
        steps = self.spec.online and not getattr(self.predictor, "needs_whole_clip", False)
        in_chunks = stream is not None or (steps and not together)
        looks = known is None and self._looks_at_footage()
        live = source is not None and source.is_live
        if not in_chunks or needs_all or not accept_damaged or (looks and not live):
            self._take_in(source, workspace, accept_damaged)
            source = None
        clip = whole = workspace
        preparation = None
        if looks and workspace.frames_complete and len(workspace) > 1 and not workspace.has_chunk(0):
            whole, preparation = chosen_footage(workspace, self.settings, self.progress, self.warn)
            workspace = preparation.clip(whole)
        if lens_is_known and whole.lens is None:
            whole.set_lens(self._known_lens(whole, clip.source_size))
        # a lens that was given, or found before this run was resumed
        undistorted = whole.lens is not None
        if whole.lens is not None and workspace.lens is None:
            workspace.set_lens(whole.lens)
        covered = preparation is not None and preparation.overlays is not None
        find_lens = self.spec.finds_lens and known is None and motion_stage and not covered
        find_lens = find_lens and self.settings.lens in (None, "auto")
        frames = workspace.frames() if workspace.frames_complete else None
        if frames is not None:
            check(whole.frames(), whole.positions, clip.source_size or (frames.width, frames.height))
        views = None
        if needs_all:
            assert frames is not None
            views = known(frames) if known is not None else self._known(frames, workspace, whole, preparation)
            if self._given is not None and not self._given.is_complete and not motion_stage:
                raise InputError(f"Masks of some frames have no effect here; give {self.settings.masks} all frames.")
        largest = self.spec.largest_views
        if in_chunks or (largest is not None and len(workspace) > largest and not together):
            size = largest or StreamSettings().chunk_size
            strict = self.settings.strict_official
            chunks = stream or StreamSettings(chunk_size=size, overlap=size // 2, loop=False, strict_official=strict)
            driven = self._in_chunks(source, workspace, chunks, views, descriptor_for_loops, on_prediction, find_lens)
        else:
            assert frames is not None
            views = views or self._known(frames, workspace, whole, preparation)
            views = replace(views, find_lens=find_lens and not undistorted)
            prediction = self.predictor.predict(views, progress=self.progress)
            for sentence in prediction.warnings:
                self.warn(sentence)
            if prediction.lens is not None:
                workspace.set_lens(prediction.lens)
            driven = DrivenScene(scene_of_prediction(prediction, workspace.frames()), prediction)
        if not undistorted and workspace.undistortion is not None:
            views = None if views is None else undistorted_views(views, workspace.undistortion)
            if self._given is not None:
                maps = undistorted_masks(self._given.maps, workspace.undistortion)
                self._given = replace(self._given, maps=maps)
        self._complete(driven.scene, views, workspace, motion_stage)
        if workspace.lens is not None and whole.lens is None:
            whole.set_lens(workspace.lens)
        if preparation is not None:
            driven.scene = preparation.restored(driven.scene, whole)
            said = [*clip.noted("source_warnings"), *scene_warnings(driven.scene)]
            driven.scene.provenance |= {
                "source_frames": list(whole.positions),
                "warnings": list(dict.fromkeys(said)),
            }
        return driven

    def _looks_at_footage(self) -> bool:
        return self.settings.shot != WHOLE or not self.settings.keep_everything

    def single_view(self, image: np.ndarray) -> tuple[np.ndarray, Prediction]:
        """The prediction of an image by itself, with the image (uint8, (H, W, 3)) at the size of its maps."""
        width, height = fitted_size(image.shape[1], image.shape[0], self.settings.size_limit)
        frames = MemoryFrames(resize_image(image, width, height)[None])
        prediction = self.predictor.predict(Views(frames, focal=self._focal(frames)))
        rows, columns = prediction.size
        return resize_image(image, columns, rows), prediction

    def collection(self, images: Sequence[Path]) -> Prediction:
        """The prediction of image files of different sizes together; predictors whose spec says `mixed_sizes`."""
        prediction = cast(CollectionPredictor, self.predictor).predict_collection(images, progress=self.progress)
        for sentence in prediction.warnings:
            self.warn(sentence)
        return prediction

    def open_source(self) -> FrameSource:
        """The input of the settings."""
        settings = self.settings
        return open_source(settings.input, frames=settings.frames, rate=settings.fps, max_frames=settings.max_frames)

    def _take_in(self, source: FrameSource | None, workspace: StreamWorkspace, accept_damaged: bool) -> None:
        if workspace.frames_complete:
            return
        if source is None:
            raise InputError(f"{workspace.folder} is incomplete and needs the source that it was made from.")
        intake = Intake(source, workspace, max_size=self.settings.size_limit, progress=self.progress)
        intake.take_all()
        ended = intake.ended
        for sentence in intake.warnings:
            if accept_damaged or source.is_live or sentence != ended:
                self.warn(sentence)
        intake.finish()
        if ended and not accept_damaged and not source.is_live:
            # a truncated file is usually a mistake, so it is used only on request
            raise InputError(
                f"{ended.rstrip('.')}; repair it, or use what is readable with --frames 0:{len(workspace)}."
            )

    def _in_chunks(
        self,
        source: FrameSource | None,
        workspace: StreamWorkspace,
        settings: StreamSettings,
        views: Views | None,
        descriptor_for_loops: bool,
        on_prediction: OnPrediction | None,
        find_lens: bool,
    ) -> DrivenScene:
        undistorted = workspace.lens is not None

        def known(frames: Frames, indices: Sequence[int] | range) -> Views:
            if views is not None:
                found_later = None if undistorted else workspace.undistortion
                chosen = views if found_later is None else undistorted_views(views, found_later)
                return chosen_views(chosen, frames, indices)
            return Views(frames, observed=workspace.observed(indices), focal=self._focal(frames, workspace))

        descriptor = None
        if settings.loop and descriptor_for_loops:
            from dynamic_predictor.place_recognition import create_descriptor

            descriptor = create_descriptor(resolved_device(self.settings.device))
        result = run_stream(
            source,
            self.predictor,
            self.spec,
            workspace,
            settings,
            known=known,
            max_size=self.settings.size_limit,
            descriptor=descriptor,
            progress=self.progress,
            warn=self.warn,
            on_prediction=on_prediction,
            find_lens=find_lens,
        )
        return DrivenScene(scene_of_stream(result), stream=result)

    def _known(
        self, frames: Frames, workspace: StreamWorkspace, whole: StreamWorkspace, preparation: Preparation | None
    ) -> Views:
        """The views with the masks (of the user or of another predictor) and the focal length of the settings. `whole`
        has all frames of the shot."""
        settings, masks = self.settings, None
        if settings.masks is not None:
            self._given = users_masks(settings, whole.frames(), whole.positions, self.warn)
            if whole.undistortion is not None:
                maps = undistorted_masks(self._given.maps, whole.undistortion)
                self._given = replace(self._given, maps=maps)
            if preparation is not None:
                self._given = preparation.of_given_masks(self._given)
            masks = self._given.maps if self._given.is_complete else None
        elif settings.masks_from is not None:
            folder = workspace.folder / "masks_from"
            masks = predicted_masks(
                frames,
                settings,
                folder,
                self.progress,
                self.warn,
                observed=workspace.observed(),
                predictor=self.predictor,
            )
            masks, self._masks_from = self._refined(
                frames, masks, mask_source(settings).provenance, workspace.observed()
            )
            masks = grown_maps(masks, settings.masks_grow)
        return Views(frames, motion_masks=masks, observed=workspace.observed(), focal=self._focal(frames, whole))

    def _refined(self, frames: Frames, masks: FrameMaps, by: str, observed: FrameMaps | None) -> tuple[FrameMaps, str]:
        return refined(frames, masks, by, self.settings, self.progress, self.warn, observed=observed)

    def _known_lens(self, workspace: StreamWorkspace, source: tuple[int, int] | None) -> Lens:
        """The lens of --lens for the frames, which may have been shrunk."""
        frames = workspace.input_frames()
        size = frames.width, frames.height
        lens = known_lens(self.settings.lens, self.settings.fov, *(source or size))
        assert lens is not None
        self.warn(f"The frames are undistorted for the lens that --lens {self.settings.lens} describes.")
        return lens.resized(*size)

    def _focal(self, frames: Frames, workspace: StreamWorkspace | None = None) -> float | None:
        fov, given = self.settings.fov, self.settings.lens not in (None, "auto", "pinhole")
        if given and workspace is not None and workspace.undistortion is not None:
            return workspace.undistortion.pinhole.fx if self.spec.known_focal else None
        return None if fov is None else focal_length(frames.width, fov)

    def _complete(self, scene: Scene, views: Views | None, workspace: StreamWorkspace, motion_stage: bool) -> None:
        """Depth of another predictor, motion masks where the prediction has none, and where everything in the scene
        comes from."""
        settings, spec, positions = self.settings, self.spec, workspace.positions
        scene.observed = workspace.observed()
        if workspace.lens is not None:
            scene.lens, scene.input_frames = workspace.lens, workspace.input_frames()
        of_depth = spec
        if settings.depths_from is not None:
            of_depth = predictor_spec(settings.depths_from)
            folder = workspace.folder / "depths_from"
            found = second_prediction(
                of_depth, scene.frames, settings, folder, self.progress, self.warn, observed=scene.observed
            )
            use_depths(scene, found, of_depth.name)
        if views is not None and views.motion_masks is not None:
            scene.motion_masks, by = views.motion_masks, GIVEN
            if settings.masks_from is not None:
                by = grown_by(self._masks_from or mask_source(settings).provenance, settings.masks_grow)
        elif scene.motion_masks is not None:
            by = f"predicted ({spec.name})"
        elif motion_stage:
            by = BY_MOTION_STAGE
            known = scene if of_depth.confidence_of_depth else replace(scene, confidences=None)
            scene.motion_masks = estimated_masks(known, settings, self.progress, self.warn)
        else:
            by = "none"
        if self._given is not None and scene.motion_masks is not None:
            scene.motion_masks, by = self._given.merged(scene.motion_masks), given_by(self._given, by)
        elif scene.motion_masks is not None and (views is None or views.motion_masks is None):
            scene.motion_masks, by = self._refined(scene.frames, scene.motion_masks, by, scene.observed)
            scene.motion_masks = grown_maps(scene.motion_masks, settings.masks_grow)
            by = grown_by(by, settings.masks_grow)
        if scene.motion_masks is not None:
            scene.motion_masks = where_observed(scene.motion_masks, scene.observed)
        if scene.confidences is not None:
            scene.confidences = where_observed(scene.confidences, scene.observed)
        scene.predictor = spec.name
        said = [*workspace.noted("source_warnings"), *scene_warnings(scene), *self._said]
        scene.provenance = {
            **scene.provenance,
            "warnings": list(dict.fromkeys(said)),
            "input": settings.input,
            "source": workspace.source_description,
            "source_frames": list(positions),
            "masks": by,
        }
