#!/usr/bin/env bash
# What replaces a data/download_davis.sh.
echo "DAVIS is downloaded by: python data/download_davis.py (it says the size first, resumes, and checks what it got)." >&2
exit 2
