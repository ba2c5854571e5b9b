#!/usr/bin/env bash
# What replaces DAS3R's data/download_pointodyssey.sh.
echo "PointOdyssey is downloaded by: python data/download_pointodyssey.py (it says the size first, resumes, and checks what it got)." >&2
exit 2
