"""The networks of StreamVGGT and VGGT as cases of `dynamic_predictor.parity.run`."""

import torch
from torch import Tensor

from dynamic_predictor.parity.case import ParityCase, network_without_values
from dynamic_predictor.streamvggt.cache import CacheRules
from dynamic_predictor.streamvggt.network import FrameOutputs, GeometryNetwork, Wanted, concatenated
from dynamic_predictor.streamvggt.official import OFFICIAL
from dynamic_predictor.streamvggt.streaming import Stream
from dynamic_predictor.streamvggt.tracker import Tracks


def parity_case(name: str) -> ParityCase:
    """The network of the published size; `name` is "streamvggt" or "vggt". Images are in [0, 1]; `query_points`
    (1, N, 2) are (x, y) in pixels of the first one.

    "vggt": outputs of all frames at once, `offline_*`. "streamvggt": the same with causal attention, and those of a
    stream as the official code runs it, `stream_*`.
    """
    network = network_without_values(GeometryNetwork)

    def run(images: Tensor, query_points: Tensor | None = None) -> dict[str, Tensor]:
        causal = name == "streamvggt"
        outputs = _arrays("offline_", network(images, causal=causal, query_points=query_points))
        if causal:
            streamed = official_stream(network, images, query_points)
            outputs |= _arrays("stream_", streamed)
        return outputs

    return ParityCase(
        parameters=network.state_dict(),
        run=run,
        size_multiple=GeometryNetwork.patch_size,
        optional_inputs={"query_points": (1, None, 2)},
    )


def official_stream(network: GeometryNetwork, images: Tensor, query_points: Tensor | None = None) -> FrameOutputs:
    """Outputs for images (1, S, 3, H, W) as the official streaming gives them: with one cache of the camera head for
    all refinements, and tracks that look for the query points in each frame alone, where they are found at once."""
    stream = Stream(network, CacheRules(policy="all", shares_camera_cache=OFFICIAL.shares_camera_cache))
    outputs, tracks = [], []
    for frame in range(images.shape[1]):
        output = stream.step(images[:, frame], wanted=Wanted(tokens=query_points is not None))
        if output.tokens is not None and query_points is not None:
            tracks.append(network.track_head(output.tokens, images[:, frame : frame + 1], query_points))
            query_points = tracks[-1].points[:, 0]
            output.tokens = None
        outputs.append(output)
    joined = concatenated(outputs)
    if tracks:
        points, visibility, confidence = (
            torch.cat([getattr(track, name) for track in tracks], dim=1)
            for name in ("points", "visibility", "confidence")
        )
        joined.tracks = Tracks(points, visibility, confidence, [points])
    return joined


def _arrays(prefix: str, output: FrameOutputs) -> dict[str, Tensor]:
    assert output.depth is not None and output.depth_confidence is not None
    assert output.points is not None and output.points_confidence is not None
    arrays = {
        "pts3d_in_other_view": output.points,
        "conf": output.points_confidence,
        "depth": output.depth[..., None],
        "depth_conf": output.depth_confidence,
        "camera_pose": output.camera,
    }
    if output.tracks is not None:
        arrays |= {
            "track": output.tracks.points,
            "vis": output.tracks.visibility,
            "track_conf": output.tracks.confidence,
        }
    return {prefix + name: value for name, value in arrays.items()}
