"""Calls launch.py with several lists of options, one after the other, in one group of processes; started by torchrun in
tests, because starting Python takes longer than the runs."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dynamic_predictor import launch
from dynamic_predictor.training import processes


def main() -> int:
    with processes.process_group("cpu") as process:

        @contextmanager
        def same_group(device: str = "auto") -> Iterator[processes.Process]:
            yield process

        processes.process_group = same_group
        return max(launch.main(options) for options in json.loads(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
