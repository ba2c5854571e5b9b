#!/usr/bin/env bash
# rendering.sh for clips of Sintel: rendering_sintel.sh [CLIP...] [--data DIR] [OPTION...]
exec bash "$(dirname "${BASH_SOURCE[0]}")/rendering.sh" sintel "$@"
