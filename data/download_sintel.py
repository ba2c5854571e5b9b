"""Fetches the training part of MPI Sintel into data/sintel/ and makes its motion labels.

    python data/download_sintel.py [--to data/sintel] [--yes] [--keep-archives]

An interrupted download goes on where it stopped.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if __name__ == "__main__":
    from dynamic_predictor.evaluation.datasets.download_command import download_sintel

    sys.exit(download_sintel(ROOT / "data" / "sintel"))
