#!/usr/bin/env bash
# rendering.sh for clips of DAVIS, given as arguments; default: all scenes in results/davis.
exec bash "$(dirname "${BASH_SOURCE[0]}")/rendering.sh" davis "$@"
