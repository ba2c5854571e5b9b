#!/usr/bin/env bash
# testing_psnr.sh for clips of Sintel: testing_psnr_sintel.sh [CLIP...] [--data DIR] [OPTION...]
exec bash "$(dirname "${BASH_SOURCE[0]}")/testing_psnr.sh" sintel "$@"
