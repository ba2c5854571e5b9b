"""Rearranges PointOdyssey for fast loading, which download_pointodyssey.py also does.

python data/rearrange_pointodyssey.py [--dataset data/point_odyssey]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if __name__ == "__main__":
    from data.dataset_commands import rearrange_pointodyssey

    sys.exit(rearrange_pointodyssey(ROOT / "data" / "point_odyssey"))
