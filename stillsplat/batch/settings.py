"""Settings of `stillsplat batch`: which clips, and where they are worked on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scene.errors import InputError
from scene.option import check_values, option

if TYPE_CHECKING:
    from pathlib import Path

    from dynamic_predictor.evaluation.distribution import Engine

_CLIPS, _WORK = "clips", "where the work is done"


@dataclass(frozen=True)
class BatchSettings:
    """Raises `InputError` for values that make no sense together."""

    #: name of a data set, folder of clips, or manifest (`batch.clips`)
    source: str = option(
        help="a data set (davis, sintel, ...), a folder of clips, or a manifest (.json, .txt)", metavar="SOURCE",
        positional=True,
    )  # fmt: skip
    #: None: those of published figures, of a data set; all, of a folder or manifest
    clips: str | None = option(
        None, "names of clips, joined by commas (default: the published ones of a data set, else all)", metavar="NAMES",
        group=_CLIPS,
    )  # fmt: skip
    data: str = option("data", "folder with the clips of a data set", metavar="DIR", group=_CLIPS)
    #: folder of scenes by clip, in place of the images of a data set
    scenes: str | None = option(
        None, "scenes of these clips (of launch.py, stillsplat predict) in place of their images", metavar="DIR",
        group=_CLIPS,
    )  # fmt: skip
    engine: Literal["local", "ray"] = option(
        "local", "local: processes of this machine; ray: a Ray cluster", choices=("local", "ray"), group=_WORK
    )
    #: None: one per GPU of `gpus`, else one; with Ray as many as there is room for
    jobs: int | None = option(
        None, "clips at the same time (default: one, or one per GPU of --gpus; ray: as many as fit)", metavar="N",
        group=_WORK,
    )  # fmt: skip
    gpus: str | None = option(None, "GPUs that the jobs take turns on, for example 0,1", metavar="LIST", group=_WORK)
    ray_address: str | None = option(
        None, "of a cluster that runs (default: RAY_ADDRESS, else this machine)", metavar="HOST:PORT", group=_WORK
    )

    def __post_init__(self) -> None:
        check_values(self)
        if self.jobs is not None and self.jobs < 1:
            raise InputError(f"--jobs must be at least 1, not {self.jobs}.")
        if self.gpus is not None and not all(name.strip() for name in self.gpus.split(",")):
            raise InputError(f'--gpus is "{self.gpus}"; give numbers joined by commas, for example 0,1.')
        if self.engine == "ray" and self.gpus is not None:
            raise InputError("Ray hands out the GPUs itself; leave out --gpus.")
        if self.engine != "ray" and self.ray_address is not None:
            raise InputError("--ray-address is of --engine ray; add it, or leave out the address.")

    @property
    def clip_names(self) -> list[str] | None:
        """The names of `clips`."""
        return None if self.clips is None else [name.strip() for name in self.clips.split(",") if name.strip()]

    def create_engine(self, logs: "Path", device: str = "auto") -> "Engine":
        """Where the work is done; `logs` is for what its processes print. Raises `InputError` without Ray."""
        if self.engine == "ray":
            from dynamic_predictor.evaluation.ray_tasks import RayTasks

            return RayTasks(self.ray_address, use_gpu=device != "cpu", jobs=self.jobs, fresh_processes=True)
        from dynamic_predictor.evaluation.local_processes import LocalProcesses

        gpus = () if self.gpus is None else tuple(name.strip() for name in self.gpus.split(","))
        return LocalProcesses(self.jobs or max(1, len(gpus)), gpus, logs)
