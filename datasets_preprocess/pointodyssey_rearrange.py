"""What replaces DAS3R's datasets_preprocess/pointodyssey_rearrange.py."""

import sys

if __name__ == "__main__":
    sys.exit("This is python data/rearrange_pointodyssey.py here; run it in the folder above.")
