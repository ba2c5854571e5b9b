#!/usr/bin/env python3
"""Computes motion labels of Sintel from its flow, depth and cameras, which download_sintel.py also does.

    python data/sintel_motion_labels.py [--sintel data/sintel/training] [--threshold 0.1]
                                        [--save_dir dynamic_label_perfect] [--continuous]

A pixel is moving when its true flow differs by more than the threshold (pixels) from the flow due to camera motion.
With --continuous, the difference is written, divided by the largest of the frame.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import terminal.own_python  # noqa: E402, F401 - first, so that any Python may start this

# isort: split

if __name__ == "__main__":
    from data.dataset_commands import make_sintel_labels

    sys.exit(make_sintel_labels(ROOT / "data" / "sintel" / "training"))
