"""Parts of views, and views behind a lens that was found later."""

from collections.abc import Sequence
from dataclasses import replace

from dynamic_predictor.contract import Views
from scene.frames import Frames
from scene.maps import chosen_maps
from scene.undistortion import Undistortion, undistorted_masks


def chosen_views(views: Views, frames: Frames, indices: Sequence[int] | range) -> Views:
    """Some of `views`, by their indices; `frames` are theirs."""
    chosen = list(indices)
    return Views(
        frames,
        motion_masks=chosen_maps(views.motion_masks, chosen),
        observed=chosen_maps(views.observed, chosen),
        focal=views.focal,
        world_from_camera=None if views.world_from_camera is None else views.world_from_camera[chosen],
        intrinsics=None if views.intrinsics is None else views.intrinsics[chosen],
    )


def undistorted_views(views: Views, undistortion: Undistortion) -> Views:
    """Views of which the lens has been found out, with masks of its pinhole images; their frames stay as they are."""
    masks = undistorted_masks(views.motion_masks, undistortion)
    return replace(views, motion_masks=masks, observed=undistorted_masks(views.observed, undistortion))
