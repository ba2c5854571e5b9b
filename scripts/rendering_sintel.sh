#!/usr/bin/env bash
# rendering.sh for the clips of Sintel; arguments name clips, default: all under results/sintel.
exec bash "$(dirname "${BASH_SOURCE[0]}")/rendering.sh" sintel "$@"
