"""The folder of a batch, and what its tables show of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillsplat.batch.clips import Clip


@dataclass(frozen=True)
class BatchFolder:
    """OUT: a run folder per clip, the index of all, and what the batch itself keeps."""

    path: Path

    @property
    def index(self) -> Path:
        return self.path / "index.html"

    @property
    def record(self) -> Path:
        return self.path / "batch.json"

    @property
    def outcomes(self) -> Path:
        return self.path / ".batch" / "outcomes"

    @property
    def logs(self) -> Path:
        return self.path / ".batch" / "logs"

    def run(self, clip: Clip) -> Path:
        """The run folder of a clip."""
        return self.path / clip.folder_name

    def status(self, clip: Clip) -> Path:
        """The file that says how far a clip is."""
        return self.path / ".batch" / "status" / f"{clip.folder_name}.json"

    def annotations(self, clip: Clip) -> Path:
        """Annotated masks of a clip whose data set has them in a form of its own."""
        return self.path / ".batch" / "annotations" / clip.folder_name


def findings(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the tables of a batch show of a run's metrics.json."""
    return {
        "frames": metrics["frames"],
        "size": list(metrics["size"]),
        "gaussians": metrics["gaussians"],
        "seconds": sum(metrics["seconds"].values()),
        "peak_memory_bytes": metrics["peak_memory_bytes"],
        "scores": metrics["scores"],
    }
