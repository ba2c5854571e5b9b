"""Views that no camera took: what CUT3R's state says about the rays of a virtual camera.

The network sees the rays of the camera instead of an image. The state is read and not changed, so queries may be asked
at any time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from dynamic_predictor.cut3r.cameras import pose_matrix, ray_map
from dynamic_predictor.cut3r.network import Cut3rNetwork, SceneState
from scene.camera import Camera
from scene.confidence import from_network
from scene.errors import InputError
from scene.similarity import Similarity


@dataclass(frozen=True)
class VirtualView:
    """The prediction for a virtual camera of H x W pixels, in the world of the clip."""

    #: as asked for
    camera: Camera
    #: (H, W, 3) float32 in the world
    points: np.ndarray
    #: in [0, 1], of `points`, (H, W) float32
    confidence: np.ndarray
    #: along the camera's z, 0 = unknown, (H, W) float32
    z_depth: np.ndarray
    #: in [0, 1], of `z_depth`, (H, W) float32
    depth_confidence: np.ndarray
    #: RGB in [0, 1], (H, W, 3) float32
    color: np.ndarray
    #: `world_from_camera` (4, 4) as the network read it from the rays; its distance from the camera's own tells how
    #: well the view is anchored in the state
    read_pose: np.ndarray


class Queryable(Protocol):
    """A predictor that can be asked for views (`Cut3rPredictor`)."""

    def query(self, camera: Camera) -> VirtualView:
        """The view of one virtual camera."""
        ...


@torch.inference_mode()
def query_view(
    network: Cut3rNetwork, state: SceneState, camera: Camera, world_from_segment: Similarity | None = None
) -> VirtualView:
    """What `state` says about `camera`, whose image has sides that are multiples of 16.

    `world_from_segment`: where the world of the state lies in that of the camera, by default the same. Raises
    `InputError` for other sizes, for a focal length that is not positive, and for outputs that are not finite.
    """
    place = world_from_segment or Similarity.identity()
    patch = network.config.patch_size
    if camera.width % patch or camera.height % patch or camera.width <= 0 or camera.height <= 0:
        raise InputError(
            f"A virtual view of {camera.width}x{camera.height} pixels cannot be asked for; both sides must be "
            f"multiples of {patch}."
        )
    if not (np.isfinite(camera.intrinsics).all() and camera.fx > 0 and camera.fy > 0):
        raise InputError("A virtual view needs a focal length above zero; correct its intrinsics.")
    in_segment = place.inverse().apply_to_poses(camera.world_from_camera)
    # the network numbers pixel centers from 0; here they are at +0.5
    rays = ray_map(camera.intrinsics, in_segment, camera.height, camera.width, pixel_offset=0.5)
    encoded = network.encode_ray_maps(torch.from_numpy(rays)[None].to(state.features.device))
    prediction = network.predict(network.step(encoded, state), encoded)
    parts = {name: part[0].float().cpu().numpy() for name, part in vars(prediction).items()}
    if not all(np.isfinite(part).all() for name, part in parts.items() if "confidence" not in name):
        raise InputError("The network's outputs for a virtual view are not numbers; its weights are damaged.")
    return VirtualView(
        camera=camera,
        points=place.apply_to_points(parts["world_points"]).astype(np.float32),
        confidence=from_network(parts["world_confidence"]),
        z_depth=np.maximum(parts["self_points"][..., 2] * place.scale, 0.0).astype(np.float32),
        depth_confidence=from_network(parts["self_confidence"]),
        color=((parts["color"] + 1.0) / 2.0).astype(np.float32),
        read_pose=place.apply_to_poses(pose_matrix(parts["pose"])),
    )


def query_path(predictor: Queryable, cameras: Iterable[Camera]) -> Iterator[VirtualView]:
    """The views along a path of virtual `cameras`, one after the other; the predictor's state does not change."""
    for camera in cameras:
        yield predictor.query(camera)
