#!/usr/bin/env bash
# Installs what is needed and runs the tests. Arguments go to pytest: scripts/test.sh tests/scene -k colmap
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m pytest -rs "$@"
