"""`python -m stillsplat`, the same as the console command."""

import sys

import terminal.own_python  # noqa: F401 - first, so that any Python may start this

# isort: split
from stillsplat.cli import main

if __name__ == "__main__":
    sys.exit(main())
