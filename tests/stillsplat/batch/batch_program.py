"""What the tests of stopped batches run: batch_program.py CLIPS OUT NOTES SECONDS JOBS."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from dynamic_predictor.evaluation.local_processes import LocalProcesses  # noqa: E402
from stillsplat.batch.batch import run_batch, settings_of_clip  # noqa: E402
from stillsplat.batch.clips import find_clips  # noqa: E402
from stillsplat.settings import RunSettings  # noqa: E402
from tests.stillsplat.batch.faked_work import FakedWork  # noqa: E402


def main(clips: str, out: str, notes: str, seconds: str, jobs: str) -> None:
    result = run_batch(
        find_clips(clips),
        lambda clip: settings_of_clip(clip, RunSettings(clips, predictor="fake", iterations=5)),
        out,
        lambda folder: LocalProcesses(int(jobs), logs=folder.logs),
        wrapped=lambda work: FakedWork(work, Path(notes), float(seconds)),
    )
    for name, reason in result.failures.items():
        print(f"{name}: {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
