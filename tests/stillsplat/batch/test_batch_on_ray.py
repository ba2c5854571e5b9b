"""A batch on a real Ray of this machine, of which a worker process is killed in the middle of a clip."""

import importlib.util
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.ray_tasks import RayTasks
from stillsplat.batch.batch import BatchResult, run_batch, settings_of_clip
from stillsplat.batch.clips import find_clips
from stillsplat.settings import RunSettings
from tests.stillsplat.batch.faked_work import FakedWork
from tests.stillsplat.stand_ins import clip_images, write_clip

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="NOT CHECKED: ray is not installed (pip install 'stillsplat[ray]')")
def test_a_killed_worker_continues_its_clip(tmp_path: Path) -> None:
    names = ["ant", "bee", "cat"]
    for name in names:
        write_clip(tmp_path / "clips" / name, clip_images())
    (tmp_path / "clips" / "corrupt.mp4").write_bytes(b"no video")
    clips, out, notes = str(tmp_path / "clips"), tmp_path / "out", FakedWork(None, tmp_path / "notes")  # type: ignore[arg-type]

    def batch() -> BatchResult:
        return run_batch(
            find_clips(clips),
            lambda clip: settings_of_clip(clip, RunSettings(clips, predictor="fake", iterations=5)),
            out,
            lambda folder: RayTasks("local", jobs=2, fresh_processes=True),
            wrapped=lambda work: FakedWork(work, notes.notes, killed="bee"),
        )

    result = batch()
    assert list(result.failures) == ["corrupt"] and list(result.outcomes) == [*names, "corrupt"]
    for name in names:
        assert (out / name / "report.html").exists() and notes.count(name, "predict", "begun") == 1
    assert notes.count("bee", "optimize", "begun") == 2 and notes.count("bee", "optimize", "finished") == 1
    again = batch()
    assert list(again.failures) == ["corrupt"]
    assert all(notes.count(name, "predict", "begun") == 1 for name in names) and not list(out.glob("*.lock"))
