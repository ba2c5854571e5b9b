"""`python -m stillsplat`, the same as the console command."""

import sys

from stillsplat.cli import main

if __name__ == "__main__":
    sys.exit(main())
