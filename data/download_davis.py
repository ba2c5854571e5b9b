#!/usr/bin/env python3
"""Downloads DAVIS 2017 (480p, training and validation) to data/davis/.

    python data/download_davis.py [--to data/davis] [--yes] [--keep-archives]

Repeat the command to resume an interrupted download.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import terminal.own_python  # noqa: E402, F401 - first, so that any Python may start this

# isort: split

if __name__ == "__main__":
    from data.dataset_commands import download_davis

    sys.exit(download_davis(ROOT / "data" / "davis"))
