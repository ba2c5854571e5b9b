#!/usr/bin/env bash
# testing_psnr.sh for clips of DAVIS, given as arguments; default: all scenes in results/davis.
exec bash "$(dirname "${BASH_SOURCE[0]}")/testing_psnr.sh" davis "$@"
