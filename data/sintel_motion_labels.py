"""Makes the motion labels of Sintel from its flow, depth and cameras (download_sintel.py does so by itself).

    python data/sintel_motion_labels.py [--sintel data/sintel/training] [--threshold 0.1]
                                        [--save_dir dynamic_label_perfect] [--continuous]

A pixel moves when its true flow is more than the threshold (pixels) away from what the camera alone would cause. With
--continuous the error itself is written, divided by the largest of the frame.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if __name__ == "__main__":
    from dynamic_predictor.evaluation.datasets.download_command import make_sintel_labels

    sys.exit(make_sintel_labels(ROOT / "data" / "sintel" / "training"))
