#!/usr/bin/env python3
"""Rearranges PointOdyssey for fast loading, which download_pointodyssey.py also does.

python data/rearrange_pointodyssey.py [--dataset data/point_odyssey]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import terminal.own_python  # noqa: E402, F401 - first, so that any Python may start this

# isort: split

if __name__ == "__main__":
    from data.dataset_commands import rearrange_pointodyssey

    sys.exit(rearrange_pointodyssey(ROOT / "data" / "point_odyssey"))
