#!/usr/bin/env bash
# testing_psnr.sh for clips of DAVIS: testing_psnr_davis.sh [CLIP...] [--data DIR] [OPTION...]
exec bash "$(dirname "${BASH_SOURCE[0]}")/testing_psnr.sh" davis "$@"
