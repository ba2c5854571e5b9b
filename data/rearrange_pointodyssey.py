"""Rearranges PointOdyssey for fast loading (download_pointodyssey.py does so by itself).

python data/rearrange_pointodyssey.py [--dataset data/point_odyssey]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if __name__ == "__main__":
    from dynamic_predictor.evaluation.datasets.download_command import rearrange_pointodyssey

    sys.exit(rearrange_pointodyssey(ROOT / "data" / "point_odyssey"))
