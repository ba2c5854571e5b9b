#!/usr/bin/env python3
"""Downloads the training part of MPI Sintel to data/sintel/ and computes its motion labels.

    python data/download_sintel.py [--to data/sintel] [--yes] [--keep-archives]

Repeat the command to resume an interrupted download.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import terminal.own_python  # noqa: E402, F401 - first, so that any Python may start this

# isort: split

if __name__ == "__main__":
    from data.dataset_commands import download_sintel

    sys.exit(download_sintel(ROOT / "data" / "sintel"))
