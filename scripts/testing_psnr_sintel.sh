#!/usr/bin/env bash
# testing_psnr.sh for the clips of Sintel; arguments name clips, default: all under results/sintel.
exec bash "$(dirname "${BASH_SOURCE[0]}")/testing_psnr.sh" sintel "$@"
