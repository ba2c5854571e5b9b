"""Which shot of a clip is worked on: `--shot`, and the shots of a clip that has several."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from dynamic_predictor.driver.shot_choice import LONGEST
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.footage.shots import FoundShots, Shot, find_shots
from scene.errors import InputError
from scene.files.json_files import read_json, write_json
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress


class SeveralShots(InputError):
    """The clip has cuts, and none of its shots was chosen. `workspace` has all frames."""

    def __init__(self, title: str, found: FoundShots, workspace: StreamWorkspace) -> None:
        super().__init__(
            f"{cuts_sentence(title, found)} Choose one with --shot N or --shot longest, or --shot whole for all frames "
            "as if they were one shot."
        )
        self.found, self.workspace = found, workspace
        #: of the command, with results and temporary files
        self.folder: object = None


def shot_name(number: int) -> str:
    """The folder of the results of a shot, counted from 1."""
    return f"shot-{number:02d}"


def cuts_sentence(title: str, found: FoundShots) -> str:
    """What a person should know about the shots of a clip."""
    spans = ", ".join(f"{shot.start} to {shot.stop - 1}" for shot in found.shots[:12])
    more = ", ..." if len(found.shots) > 12 else ""
    return f"{title} has {len(found.shots)} shots (frames {spans}{more})."


def chosen_number(given: str, title: str, found: FoundShots) -> int | None:
    """The number of the shot that `--shot` chooses, counted from 1; None: none, of several. Raises `InputError` for a
    number that is too large."""
    count = len(found.shots)
    if given == LONGEST:
        return 1 + max(range(count), key=lambda index: len(found.shots[index].predicted))
    if given.isdigit():
        if int(given) > count:
            raise InputError(f"{title} has {count} shot{'s' if count != 1 else ''}, so there is no --shot {given}.")
        return int(given)
    return 1 if count == 1 else None


def found_shots(workspace: StreamWorkspace, progress: Progress = ignore_progress) -> FoundShots:
    """The shots of all frames of a workspace, which remembers them."""
    path = workspace.folder / "found_shots.json"
    if path.exists():
        content = read_json(path)
        try:
            shots = [
                Shot(int(one["start"]), int(one["stop"]), *(_numbered(one[name]) for name in ("left_out", "faded")))
                for one in content["shots"]
            ]
            dissolves = [(int(first), int(last)) for first, last in content["dissolves"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged; start again with --overwrite.") from error
        return FoundShots(shots, len(workspace), bool(content.get("is_collection")), dissolves)
    found = find_shots(workspace.frames(), progress=progress)
    write_json(path, asdict(found))
    return found


def _numbered(reasons: Any) -> dict[int, Any]:
    return {int(frame): reason for frame, reason in reasons.items()}


def moved(shot: Shot, by: int) -> Shot:
    """A shot whose frames have numbers that are smaller by `by`."""
    return replace(
        shot,
        start=shot.start - by,
        stop=shot.stop - by,
        left_out={frame - by: reason for frame, reason in shot.left_out.items()},
        faded={frame - by: reason for frame, reason in shot.faded.items()},
    )


def part_of_clip(workspace: StreamWorkspace, chosen: Sequence[int], name: str) -> StreamWorkspace:
    """The frames `chosen` of a workspace as one of its own, in its folder `name`, where it may be already."""
    settings = {"frames": list(chosen)}
    part = StreamWorkspace(workspace.folder / name, settings, resume=(workspace.folder / name).exists())
    if not part.frames_complete:
        part = StreamWorkspace(part.folder, settings, resume=False)
        observed: FrameMaps | None = workspace.observed(chosen)
        part.take(workspace.frames(chosen), positions=[workspace.positions[index] for index in chosen],
                  observed=observed)  # fmt: skip
    return part
