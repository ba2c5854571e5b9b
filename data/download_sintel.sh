#!/usr/bin/env bash
# What replaces DAS3R's data/download_sintel.sh.
echo "Sintel is downloaded by: python data/download_sintel.py (it says the size first, resumes, and checks what it got)." >&2
exit 2
