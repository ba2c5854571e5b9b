#!/usr/bin/env bash
# testing_psnr.sh for the clips of DAVIS; arguments name clips, default: all under results/davis.
exec bash "$(dirname "${BASH_SOURCE[0]}")/testing_psnr.sh" davis "$@"
