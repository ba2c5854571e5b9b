#!/usr/bin/env bash
# Makes .venv in the repository root and installs everything into it. Does nothing when nothing has changed.
#
#   bash scripts/setup.sh          what the program needs
#   bash scripts/setup.sh dev      what its tests need too
#
# PYTHON names another Python, CXX another C++ compiler. STILLSPLAT_WHEELS is a folder or web page with wheels of the
# kernels (scripts/build_wheels.sh makes them), by default dist/: with them no compiler is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TORCH=torch==2.13.0
CPU_INDEX=https://download.pytorch.org/whl/cpu
VENV_PYTHON="$PWD/.venv/bin/python"
WHEELS=${STILLSPLAT_WHEELS:-dist}
KERNELS=(simple-knn diff-gaussian-rasterization fused-ssim pointmap-alignment bundle-adjustment)
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

# As kernel_build.py finds it.
find_compiler() {
    local candidate
    if [ -n "${CXX:-}" ]; then
        command -v "${CXX%% *}" >/dev/null ||
            fail "The environment variable CXX names the compiler '${CXX%% *}', which was not found; correct or unset it."
        echo "$CXX"
        return
    fi
    for candidate in c++ g++ clang++; do
        if command -v "$candidate" >/dev/null; then
            echo "$candidate"
            return
        fi
    done
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

# Wheels are taken when they were made from the present sources of the kernels, or where there is no compiler to make
# newer ones. A release names its wheels by STILLSPLAT_WHEELS.
compiler=$(find_compiler)
sources=$("$VENV_PYTHON" scripts/digest_of_sources.py "" "${KERNELS[@]/#/submodules/}")
how=compiler
if [ -n "${STILLSPLAT_WHEELS:-}" ] || [ "$(cat "$WHEELS/kernels.sources" 2>/dev/null)" = "$sources" ]; then
    how=wheels
elif [ -z "$compiler" ]; then
    how=pytorch
fi
say_what_is_missing() {
    [ "$how" = pytorch ] || return 0
    cat >&2 <<END
There is no C++ compiler here, so PyTorch replaces the kernels: everything works, but optimizing splats is about a hundred
times slower. Install one (on Debian and Ubuntu: sudo apt install g++; on Fedora: sudo dnf install gcc-c++; on macOS:
xcode-select --install) and run this again, or name a folder with wheels of the kernels: STILLSPLAT_WHEELS=FOLDER $0
END
}
say_what_is_missing

# install_once NAME WHAT-ELSE-MATTERS INPUTS... -- COMMAND... : skipped while WHAT-ELSE-MATTERS and the contents of INPUTS
# are what they were when it last succeeded.
stamps=.venv/.installed installed=
mkdir -p "$stamps"
install_once() {
    local name=$1 matters=$2 inputs=() now
    shift 2
    while [ "$1" != -- ]; do
        inputs+=("$1")
        shift
    done
    shift
    now=$("$VENV_PYTHON" scripts/digest_of_sources.py "$("$VENV_PYTHON" -VV) $matters" ${inputs[@]+"${inputs[@]}"})
    if [ "$(cat "$stamps/$name" 2>/dev/null)" = "$now" ]; then
        return
    fi
    echo "Installing $name"
    rm -f "$stamps/$name"
    installed=yes
    "$@" || fail "pip could not install $name; its messages are above."
    echo "$now" >"$stamps/$name"
}

pip_install() {
    "$VENV_PYTHON" -m pip install "$@"
}

has_nvidia_gpu() {
    [ -e /proc/driver/nvidia/version ] || [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]
}

# The torch of PyPI for Linux brings CUDA. Where no GPU can use it, PyTorch's own index has one without.
install_torch() {
    if [ "$("$VENV_PYTHON" -c 'from importlib.metadata import version; print(version("torch").split("+")[0])' 2>/dev/null)" = "${TORCH#*==}" ]; then
        return
    fi
    if [ "$(uname -s)" = Linux ] && ! has_nvidia_gpu; then
        echo "No NVIDIA GPU was found: torch without CUDA is fetched (about 200 MB, 0.8 GB on the disk; minutes)."
        if "$VENV_PYTHON" -c "import urllib.request as u; u.urlopen('$CPU_INDEX/', timeout=5)" 2>/dev/null &&
            pip_install --index-url "$CPU_INDEX" "$TORCH"; then
            return
        fi
        echo "$CPU_INDEX cannot be reached; torch comes from your package index, where it may bring CUDA (5.7 GB)."
    else
        echo "torch is fetched (with CUDA: 5.7 GB on the disk; minutes)."
    fi
    pip_install "$TORCH"
}

install_kernels() {
    case $how in
        wheels) pip_install --force-reinstall --no-deps --no-index --find-links "$WHEELS" "${KERNELS[@]}" ;;
        *) pip_install --quiet --force-reinstall --no-deps "${KERNELS[@]/#/./submodules/}" ;;
    esac
}

# torch goes first and alone, so that nothing that comes later chooses another version.
install_once torch "$TORCH" -- install_torch
matters=$how
[ "$how" != compiler ] || matters="$compiler $($compiler --version 2>/dev/null | head -n 1)"
install_once kernels "$matters" "${KERNELS[@]/#/submodules/}" -- install_kernels
if [ "${1:-}" = dev ]; then
    install_once "what the tests need" dev pyproject.toml setup.py -- pip_install "$TORCH" -e '.[dev]'
else
    install_once stillsplat run pyproject.toml setup.py -- pip_install "$TORCH" -e .
fi
[ -z "$installed" ] || say_what_is_missing # again, below the output of pip
