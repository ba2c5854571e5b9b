#!/usr/bin/env bash
# Makes .venv in the repository root and installs everything into it. Does nothing when nothing has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TORCH=torch==2.13.0
VENV_PYTHON="$PWD/.venv/bin/python"
export PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
    echo "$*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.10 or newer is needed and none was found; install it, or name it: PYTHON=/path/to/python3 $0"
}

# Two runs at once would install over each other.
if command -v flock >/dev/null && [ -w . ]; then
    exec 9<.
    flock 9
fi

# A virtual environment that was copied or moved, or whose Python is gone, is of no use.
if [ -e .venv ] && ! "$VENV_PYTHON" -c 'import os, pip, sys; sys.exit(not os.path.samefile(sys.prefix, ".venv"))' 2>/dev/null; then
    echo "The virtual environment .venv does not work here; it is made anew."
    rm -rf .venv
fi
if [ ! -e .venv ]; then
    python=$(find_python)
    echo "Making .venv with $("$python" --version)"
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        fail "$python cannot make a virtual environment; install its venv module (on Debian and Ubuntu: apt install python3-venv)."
    fi
fi
"$VENV_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "The Python in .venv is older than 3.10; remove .venv and run this again with a newer python3."

# install_once NAME INPUTS... -- ARGUMENTS-OF-PIP-INSTALL... : skipped while the contents of INPUTS are what they were
# when it last succeeded. Build products do not count as inputs.
stamps=.venv/.installed
mkdir -p "$stamps"
install_once() {
    local name=$1 inputs=()
    shift
    while [ "$1" != -- ]; do
        inputs+=("$1")
        shift
    done
    shift
    local now
    now=$("$VENV_PYTHON" - "$*" ${inputs[@]+"${inputs[@]}"} <<'PYTHON'
import hashlib, pathlib, sys

digest = hashlib.sha256((sys.version + sys.argv[1]).encode())
products = {"build", "dist", "__pycache__"}
for argument in sys.argv[2:]:
    root = pathlib.Path(argument)
    for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
        inner = path.relative_to(root).parts
        if not path.is_file() or products & set(inner) or any(part.endswith(".egg-info") for part in inner):
            continue
        if path.suffix in (".so", ".pyc", ".o"):
            continue
        digest.update(f"{path}\0".encode() + path.read_bytes() + b"\0")
print(digest.hexdigest())
PYTHON
)
    if [ "$(cat "$stamps/$name" 2>/dev/null)" = "$now" ]; then
        return
    fi
    echo "Installing $name"
    rm -f "$stamps/$name"
    "$VENV_PYTHON" -m pip install --quiet "$@" ||
        fail "pip could not install $name; its messages are above."
    echo "$now" >"$stamps/$name"
}

# torch goes first and alone, so that nothing that comes later chooses another version.
install_once torch -- "$TORCH"
kernels=(submodules/simple-knn submodules/diff-gaussian-rasterization submodules/fused-ssim
    submodules/pointmap-alignment)
install_once kernels "${kernels[@]}" -- --force-reinstall --no-deps "${kernels[@]/#/./}"
install_once stillsplat pyproject.toml setup.py -- "$TORCH" -e '.[dev]'
