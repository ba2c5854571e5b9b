#!/usr/bin/env bash
# rendering.sh for clips of DAVIS: rendering_davis.sh [CLIP...] [--data DIR] [OPTION...]
exec bash "$(dirname "${BASH_SOURCE[0]}")/rendering.sh" davis "$@"
