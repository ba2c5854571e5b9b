"""Motion masks of a clip from the global attention of VGGT and StreamVGGT (Hu et al., "VGGT4D", 2025)."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.attention_motion.clusters import refined_by_clusters
from dynamic_predictor.attention_motion.gram import OFFSETS, GramWindows, stacked_maps, window_offsets
from dynamic_predictor.attention_motion.motion_masks import core_of_window, masks_of_clip
from dynamic_predictor.attention_motion.reprojection import GeometryOfClip, refined_by_reprojection
from dynamic_predictor.stitching.chunk_windows import chunk_windows
from dynamic_predictor.streamvggt.cameras import decode_cameras
from dynamic_predictor.streamvggt.network import GeometryNetwork, Wanted
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress

#: frames that attend to each other, and those shared with the next ones, so that every frame has all its neighbors
WINDOW, OVERLAP = 32, 2 * max(OFFSETS)


def clip_attention_masks(
    network: GeometryNetwork,
    image: Callable[[int], np.ndarray],
    count: int,
    to_frame: Callable[[np.ndarray], np.ndarray],
    *,
    causal: bool,
    device: torch.device | str = "cpu",
    window: int = WINDOW,
    overlap: int = OVERLAP,
    progress: Progress = ignore_progress,
) -> FrameMaps:
    """Masks of 0 and 1, at the size that `to_frame` brings maps (H, W) to, of a clip of any length.

    `image(index)` is a frame as network input, float32 RGB (3, H, W) in [0, 1]; `causal` as for the network. The clip
    is seen in windows of `window` frames. In each, motion maps are found by Gram statistics and made equal over
    clusters of DINOv2's features; after a threshold for the whole clip, the masks of each window are refined by
    reprojection with the window's own depth and cameras. VGGT4D takes these from a second run of the network that does
    not attend to what moves; here they are those of the first run. Memory is that of a window; depth maps of long clips
    lie on the disk. Raises `InputError` for attention that is not finite.
    """
    windows = chunk_windows(count, window, overlap)
    maps: list[np.ndarray] = []
    cameras: list[tuple[np.ndarray, np.ndarray]] = []
    depths: StoredMaps | None = None
    for number, (first, stop) in enumerate(windows):
        images = torch.from_numpy(np.stack([image(index) for index in range(first, stop)]))[None].to(device)
        found, depth, *geometry = _window(network, images, causal)
        begin, end = core_of_window(windows, number)
        maps.extend(found[begin - first : end - first])
        cameras.append((geometry[0], geometry[1]))
        if depths is None:
            total = sum(last - start for start, last in windows)
            depths = StoredMaps(total, *depth.shape[1:], dtype=np.float32)
        place = sum(last - start for start, last in windows[:number])
        for index in range(len(depth)):
            depths[place + index] = depth[index]
        progress("motion from attention", end, count)
    assert depths is not None
    stored = depths

    def refined(mask: Callable[[int], np.ndarray]) -> Iterator[np.ndarray]:
        place = 0
        for number, (first, stop) in enumerate(windows):
            frames = range(first, stop)
            geometry = GeometryOfClip(
                np.stack([image(index).transpose(1, 2, 0) for index in frames]),
                np.stack([stored[place + index - first] for index in frames]),
                *cameras[number],
            )
            begin, end = core_of_window(windows, number)
            masks = np.stack([mask(index) for index in frames])
            yield from refined_by_reprojection(masks, geometry)[begin - first : end - first]
            place += stop - first

    height, width = image(0).shape[1:]
    return masks_of_clip(maps, (width, height), to_frame, refined)


def _window(
    network: GeometryNetwork, images: Tensor, causal: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Motion maps (S, rows, columns), depths (S, H, W), intrinsics (S, 3, 3) and poses `world_from_camera` (S, 4, 4) of
    images (1, S, 3, H, W)."""
    frames, (height, width) = images.shape[1], images.shape[-2:]
    special = network.architecture.special_tokens
    windows = GramWindows(network.architecture.depth, offsets=window_offsets(frames))

    def record(block: int, queries: Tensor, keys: Tensor) -> None:
        if block in windows.layers:
            by_frame = (tokens[0].unflatten(1, (frames, -1))[:, :, special:] for tokens in (queries, keys))
            query, key = by_frame
            for frame in range(frames):
                windows.add(block, frame, query[:, frame], key[:, frame])

    with torch.inference_mode():
        patches = network.patch_features(images)
        output = network(images, causal=causal, wanted=Wanted(points=False), recorder=record, patches=patches)
        maps = stacked_maps(windows, height // network.patch_size, width // network.patch_size)
        camera_from_world, intrinsics = (
            part[0].double().cpu().numpy() for part in decode_cameras(output.camera, (height, width))
        )
    assert output.depth is not None
    below = np.tile([[[0.0, 0.0, 0.0, 1.0]]], (frames, 1, 1))
    world_from_camera = np.linalg.inv(np.concatenate([camera_from_world, below], axis=1))
    refined = refined_by_clusters(maps, patches[0]).numpy()
    return refined, output.depth[0].float().cpu().numpy(), intrinsics, world_from_camera
