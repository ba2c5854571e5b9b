#!/usr/bin/env bash
# Installs what is needed and runs the tests. Arguments go to pytest: scripts/test.sh tests/scene -k colmap
# Two processes share the work where pytest-xdist can be had; with -n 0 there is one, as debuggers want it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
processes=()
if .venv/bin/python -c 'import xdist' 2>/dev/null || .venv/bin/python -m pip install --quiet 'pytest-xdist>=3'; then
    processes=(-n 2 --dist loadfile)
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi
exec .venv/bin/python -m pytest -rs ${processes[@]+"${processes[@]}"} "$@"
