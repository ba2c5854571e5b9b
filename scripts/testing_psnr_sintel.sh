#!/usr/bin/env bash
# testing_psnr.sh for clips of Sintel, given as arguments; default: all scenes in results/sintel.
exec bash "$(dirname "${BASH_SOURCE[0]}")/testing_psnr.sh" sintel "$@"
