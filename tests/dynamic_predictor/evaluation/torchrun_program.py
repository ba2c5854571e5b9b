"""What the tests of torchrun's processes run: countable work, and what process 0 finds, as JSON."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from dynamic_predictor.evaluation.distribution import OutcomeFiles, for_each  # noqa: E402
from dynamic_predictor.evaluation.torchrun_processes import TorchrunProcesses  # noqa: E402
from tests.dynamic_predictor.evaluation.countable_work import CountableWork  # noqa: E402


def main(folder: Path, items: list[str], patience: float) -> None:
    engine = TorchrunProcesses(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), patience, 0.1)
    found = for_each(items, CountableWork(folder / "notes"), engine, files=OutcomeFiles(folder / "outcomes", 1))
    if engine.is_first:
        content = {item: [outcome.value, outcome.failure] for item, outcome in found.items()}
        (folder / "found.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:], float(sys.argv[2]))
