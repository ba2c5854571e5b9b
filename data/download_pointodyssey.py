#!/usr/bin/env python3
"""Downloads PointOdyssey to data/point_odyssey/ and rearranges it for fast loading.

    python data/download_pointodyssey.py [--parts train test sample] [--to data/point_odyssey] [--yes]
                                         [--keep-archives] [--no-rearrange]

Repeat the command to resume an interrupted download. The parts are large: `sample` has 3 GB, `test` 27, `val` 20,
`train` 134; unpacked, they need about as much again.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import terminal.own_python  # noqa: E402, F401 - first, so that any Python may start this

# isort: split

if __name__ == "__main__":
    from data.dataset_commands import download_pointodyssey

    sys.exit(download_pointodyssey(ROOT / "data" / "point_odyssey"))
