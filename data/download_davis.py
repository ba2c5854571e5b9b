"""Fetches DAVIS 2017 (480p, training and validation) into data/davis/.

    python data/download_davis.py [--to data/davis] [--yes] [--keep-archives]

An interrupted download goes on where it stopped.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if __name__ == "__main__":
    from dynamic_predictor.evaluation.datasets.download_command import download_davis

    sys.exit(download_davis(ROOT / "data" / "davis"))
