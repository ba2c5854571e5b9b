#!/usr/bin/env bash
# rendering.sh for the clips of DAVIS; arguments name clips, default: all under results/davis.
exec bash "$(dirname "${BASH_SOURCE[0]}")/rendering.sh" davis "$@"
