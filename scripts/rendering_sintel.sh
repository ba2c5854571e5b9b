#!/usr/bin/env bash
# rendering.sh for clips of Sintel, given as arguments; default: all scenes in results/sintel.
exec bash "$(dirname "${BASH_SOURCE[0]}")/rendering.sh" sintel "$@"
