"""Where the official code of StreamVGGT and VGGT does what we do not do by default; `strict_official` chooses it."""

from dataclasses import dataclass

from dynamic_predictor.streamvggt.preprocessing import Fit


@dataclass(frozen=True)
class Conventions:
    """One behavior for each difference.

    `shares_camera_cache`: in a stream all refinements of the camera head append to one cache, so that each also attends
    to the refinements before it, and the poses differ from those of the causal network, even in the first frame.
    `principal_point`: where the axis of the camera meets the image, in pixels from its center; the official code puts
    it at half the size but counts pixel centers from 0, so that it is half a pixel off the center. `fit`: how images
    are brought to the size of the network; the official demo cuts portrait images to a square.
    """

    shares_camera_cache: bool
    principal_point: float
    fit: Fit


OURS = Conventions(shares_camera_cache=False, principal_point=0.0, fit="resize")
OFFICIAL = Conventions(shares_camera_cache=True, principal_point=0.5, fit="crop")
