"""Every point where this alignment deliberately differs from the official code of DUSt3R, MonST3R and DAS3R.

`Conventions` holds our choices, with comments on what the official code does and why ours differs;
`OfficialConventions` overrides them with the official choices. `AlignmentSettings.conventions` selects one of the two.
"""

import numpy as np


class Conventions:
    """Our choices."""

    #: Pixel (u, v) lies at (u, v) + this. The official code places it at (u, v) but puts the principal point at half
    #: the image size, so the two are half a pixel apart.
    pixel_offset = 0.5
    #: The official code takes the network's motion masks as they are; fitting them to image edges raises their IoU
    #: (benchmarks/motion_aggregation.py).
    fits_motion_to_edges = True
    #: The official code computes the forward-backward check of optical flow and does not apply it; flow of pixels that
    #: only one of the two frames sees constrains nothing.
    excludes_inconsistent_flow = True
    #: For MonST3R, which has no mask heads, the official code detects motion by the flow that single pairs leave
    #: unexplained; ours runs the geometric motion stage on the aligned cameras and depths of all frames.
    detects_motion_after_alignment = True
    #: In a ring shorter than its window the official code pairs frames with themselves, which constrains nothing.
    pairs_frames_with_themselves = False
    #: When the official code shortens a window it drops `-noncyclic` from the graph's name, so that short clips become
    #: rings although their ends show different places.
    keeps_noncyclic = True
    #: The official code returns an empty list for a graph without pairs; ours raises `InputError`.
    refuses_empty_graphs = True
    #: The average that makes one initial focal length of those of all frames. The official code takes the mean, which
    #: one bad estimate can spoil.
    average_focal = staticmethod(np.median)
    #: Factor of the mean flow loss per coordinate if there is no limit per pixel. The official code then divides by the
    #: number of pixels instead of coordinates, which doubles the loss.
    unlimited_flow_loss_factor = 1.0

    def motion_slots(self, slots: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """The views of one frame that vote on its motion, out of storage `slots` (V,); `sides` (V,) is 0 where the
        frame is the first of its pair. The official code uses only those, so DAS3R's second mask head has no effect."""
        return slots

    def focal_pair(self, pair: int, previous_pair: int) -> int:
        """The pair that gives the focal length when `pair` joins the spanning tree after `previous_pair`. The official
        code uses the previous pair, which may show other frames."""
        return pair

    def is_one_way(self, graph: str, kind: str, window: int | None) -> bool:
        """Whether pairs are predicted in one direction only. The official code decides `swin-1` by the beginning of
        the name, so that `swin-12` counts too."""
        return kind == "oneref" or (kind == "swin" and window == 1)


class OfficialConventions(Conventions):
    """The choices of the official code."""

    pixel_offset = 0.0
    fits_motion_to_edges = False
    excludes_inconsistent_flow = False
    detects_motion_after_alignment = False
    pairs_frames_with_themselves = True
    keeps_noncyclic = False
    refuses_empty_graphs = False
    average_focal = staticmethod(np.mean)
    unlimited_flow_loss_factor = 2.0

    def motion_slots(self, slots: np.ndarray, sides: np.ndarray) -> np.ndarray:
        first = slots[sides == 0]
        return first if len(first) else slots

    def focal_pair(self, pair: int, previous_pair: int) -> int:
        return previous_pair

    def is_one_way(self, graph: str, kind: str, window: int | None) -> bool:
        return kind == "oneref" or graph.startswith("swin-1")


OURS, OFFICIAL = Conventions(), OfficialConventions()
