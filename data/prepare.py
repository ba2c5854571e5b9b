#!/usr/bin/env python3
"""Prepares the raw download of a training set in the layout that training reads (docs/training_data.md).

python data/prepare.py DATASET RAW OUT [--jobs N] [--scenes A,B]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import terminal.own_python  # noqa: E402, F401 - first, so that any Python may start this

# isort: split

if __name__ == "__main__":
    from data.dataset_commands import prepare

    sys.exit(prepare())
