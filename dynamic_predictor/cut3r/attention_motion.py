"""Motion maps of a clip from the self-attention of CUT3R's view decoder, by the statistics of VGGT4D.

CUT3R has no pairs of frames, as Easi3R needs them, and its cross-attention is with the state. But its view decoder
attends within a frame whose tokens know, by the state, of all earlier frames, as VGGT's global layers do. Queries and
keys of neighbors in time are compared as there; the layers are those at the same share of the depth. No publication
measures this.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.attention_motion.clusters import cluster_means, feature_clusters
from dynamic_predictor.attention_motion.gram import GramWindows, stacked_maps, window_offsets
from dynamic_predictor.cut3r.network import Cut3rNetwork, EncodedViews
from dynamic_predictor.cut3r.settings import StateUpdate
from dynamic_predictor.cut3r.state_update import decode_and_update, rule_for_view
from scene.progress import Progress, ignore_progress

#: frames whose tokens are clustered together
_CLUSTERED_FRAMES = 64


def clip_attention_motion(
    network: Cut3rNetwork,
    image: Callable[[int], np.ndarray],
    count: int,
    *,
    state_update: StateUpdate = "auto",
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = ignore_progress,
) -> np.ndarray:
    """Motion maps (count, rows, columns) float32 in [0, 1] of a clip of any length, refined by clusters of the
    encoder's features over at most 64 frames.

    `image(index)` is a frame as network input, float32 (3, H, W) in [-1, 1]; it is called once per frame, in order. The
    state is updated by every frame, as `state_update` says, and never reset. Memory is that of 64 frames' features and
    of the queries of 13 frames; beyond, it grows by 24 bytes per token of a frame. Raises `InputError` for attention
    that is not finite.
    """
    windows = GramWindows(network.config.decoder_depth, offsets=window_offsets(count))
    labels: list[np.ndarray] = []
    features: list[Tensor] = []
    encoded: EncodedViews | None = None
    with torch.inference_mode():
        state = network.initial_state()
        pressure = state.features.new_zeros(state.features.shape[:2])
        for frame in range(count):

            def record(layer: int, query: Tensor, key: Tensor, frame: int = frame) -> None:
                windows.add(layer, frame, query[0, :, 1:], key[0, :, 1:])

            with autocast():
                encoded = network.encode_images(torch.from_numpy(image(frame))[None].to(device))
                _, state, pressure = decode_and_update(
                    network,
                    encoded,
                    state,
                    pressure,
                    rule_for_view(state_update, frame),
                    is_first=frame == 0,
                    recorder=record,
                )
            features.append(encoded.tokens[0].float().cpu())
            if len(features) == _CLUSTERED_FRAMES or frame == count - 1:
                labels.append(feature_clusters(torch.cat(features).numpy()))
                features.clear()
            progress("motion from attention", frame + 1, count)
    assert encoded is not None
    maps = stacked_maps(windows, encoded.rows, encoded.columns)
    groups = zip(maps.split(_CLUSTERED_FRAMES), labels, strict=True)
    return torch.cat([cluster_means(part, found) for part, found in groups]).numpy()
