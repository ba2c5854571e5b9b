"""What replaces DAS3R's utils/rearrange_davis.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":
    from scene.model_place import NOTHING_TO_REARRANGE

    print(NOTHING_TO_REARRANGE)
