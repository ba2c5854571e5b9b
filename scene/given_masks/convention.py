"""Which color of a mask moves."""

from typing import Literal

#: "motion": white is what moves; "ignore": black is what is left out (COLMAP, nerfstudio); "auto": found out
MaskConvention = Literal["motion", "ignore", "auto"]
