"""Rolls the network of CUT3R over the views of clips, with the semantics of the official code.

The official code has two ways that agree for images and differ where a view of the batch has a ray map: its `forward`,
with which it is trained, adds learned tokens for missing images and ray maps (`masked_tokens`); its `forward_recurrent`
and `inference_step` do not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dynamic_predictor.cut3r.heads import Outputs, ViewPrediction
from dynamic_predictor.cut3r.network import Cut3rNetwork, EncodedViews, SceneState, Step


@dataclass(frozen=True)
class RollView:
    """One view of each of B clips: `images` (B, 3, H, W) and `ray_maps` (B, H, W, 6), one of which may be None.

    `has_image` and `has_ray_map` (B,) bool: which views have one. `update`: the state is updated (by default), where
    the view has an image. `reset`: after this view, the state returns to that before the first one (by default not).
    """

    images: Tensor | None = None
    ray_maps: Tensor | None = None
    has_image: Tensor | None = None
    has_ray_map: Tensor | None = None
    update: Tensor | None = None
    reset: Tensor | None = None


@dataclass(frozen=True)
class Rolled:
    """What one view gave: its prediction, the decoded step, and the state after update and reset."""

    prediction: ViewPrediction
    encoded: EncodedViews
    step: Step
    state: SceneState


def roll(
    network: Cut3rNetwork,
    views: Iterable[RollView],
    *,
    masked_tokens: bool = False,
    state: SceneState | None = None,
    outputs: Outputs | None = None,
) -> Iterator[Rolled]:
    """The results of `views`, one after the other; only one view is encoded at a time.

    `masked_tokens`: as the official `forward` when any view of the batch has a ray map. With a `state`, the clips are
    continued; otherwise the first view is the first of its clips.
    """
    initial: SceneState | None = None
    for view in views:
        encoded = network.encode(
            view.images, view.ray_maps, view.has_image, view.has_ray_map, masked_tokens=masked_tokens
        )
        if initial is None:
            initial = network.initial_state(len(encoded.tokens))
        is_first = state is None
        rolled = decode_view(network, encoded, view, state or initial, initial, is_first=is_first, outputs=outputs)
        state = rolled.state
        yield rolled


def decode_view(
    network: Cut3rNetwork,
    encoded: EncodedViews,
    view: RollView,
    state: SceneState,
    initial: SceneState,
    *,
    is_first: bool = False,
    outputs: Outputs | None = None,
) -> Rolled:
    """One view of each clip from its `encoded` tokens: prediction, and the state after the update and reset that the
    flags of `view` ask for. `initial` is the state before the first view.

    Differentiable with respect to tokens, states and parameters, and nothing is changed in place: truncated
    back-propagation through time repeats this step, and detaches the state between its windows.
    """
    step = network.step(encoded, state, is_first=is_first)
    prediction = network.predict(step, encoded, outputs)
    return Rolled(prediction, encoded, step, next_state(state, step, view, initial))


def next_state(state: SceneState, step: Step, view: RollView, initial: SceneState) -> SceneState:
    """The state after a view, by its flags: `state` moved to what `step` proposes, or kept, or `initial`."""
    count, device = len(state.features), state.features.device
    updated = torch.ones(count, dtype=torch.bool, device=device)
    if view.images is None:
        updated = ~updated
    elif view.has_image is not None:
        updated = updated & view.has_image.to(device)
    if view.update is not None:
        updated = updated & view.update.to(device)
    share = updated[:, None, None].to(state.features.dtype)
    state = state.blended(step.state, share, share)
    if view.reset is not None:
        share = view.reset.to(device)[:, None, None].to(state.features.dtype)
        state = state.blended(initial, share, share)
    return state


def has_ray_maps(views: Iterable[RollView]) -> bool:
    """Whether any view has a ray map, so that the official `forward` adds masked tokens to all."""
    return any(
        view.ray_maps is not None and (view.has_ray_map is None or bool(view.has_ray_map.any())) for view in views
    )
