"""Rules for how far the state of CUT3R moves to what the network proposes after a view. They need no training.

CUT3R replaces its state; it was trained on at most 64 views and forgets over hundreds. The other rules move each token
m of the state by a share, its rate beta(m) in [0, 1]. The memory of poses is replaced under every rule, and so is the
state after the first view of a clip, when it says nothing yet.

- `plain`: beta = 1 (Wang et al., 2025).
- `damped`: beta = 1/2.
- `ttt3r`: beta = g, the gate sigmoid(mean of the logits with which the token asks for the view's tokens in
  cross-attention, over all layers, heads and tokens) (TTT3R, Chen et al., 2025).
- `recal3r`: the gate recalibrated by how reliable the token is (ReCal3R, Li et al., 2026); see `recalibrated_rates`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dynamic_predictor.cut3r.network import Cut3rNetwork, EncodedViews, SceneState, SelfAttentionRecorder, Side, Step
from dynamic_predictor.cut3r.settings import StateUpdate
from dynamic_predictor.networks.attention import AttentionObserver
from dynamic_predictor.networks.attention_statistics import attention_entropy, mean_logits

#: the first views of a clip that `auto` does not damp: the network was trained on clips of this length
UNDAMPED_VIEWS = 50
#: what `auto` does from then on
_LONG_CLIPS = "recal3r"
_PRESSURE_DECAY = 0.95
_TYPICAL_RESIDUAL = 0.2
_BASE_RATE = 0.1
_OWN_SHARE = 0.5


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at after a view was decoded: the state's tokens (B, S, width) `before` the view and
    `initial`, before the first one; attention of the state to the view; the view's tokens (B, N, width) as the decoder
    received them (`embedded`) and returned them (`decoded`); `pressure` (B, S) of the views before."""

    before: Tensor
    initial: Tensor
    mean_logits: Tensor
    entropy: Tensor | None
    embedded: Tensor
    decoded: Tensor
    pressure: Tensor


class UpdateRule(Protocol):
    """How far each token moves."""

    #: the entropy of the attention is needed, which costs a second product of queries and keys
    needs_entropy: bool

    def rates(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """The rates (B, S) in [0, 1] and the pressure (B, S) for the next view."""
        ...


class GatedRule:
    """TTT3R's rule."""

    needs_entropy = False

    def rates(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """The gate of every token; the pressure is not used."""
        return attention_gate(evidence.mean_logits), evidence.pressure


class RecalibratedRule:
    """ReCal3R's rule."""

    needs_entropy = True

    def rates(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """`recalibrated_rates` and the advanced pressure."""
        assert evidence.entropy is not None
        gate = attention_gate(evidence.mean_logits)
        pressure = advanced_pressure(evidence.pressure, gate)
        residual = residual_score(evidence.embedded, evidence.decoded)
        prior = stability_prior(evidence.before, evidence.initial)
        return recalibrated_rates(gate, pressure, residual, prior, quantiles(evidence.entropy)), pressure


_RATED: dict[str, Callable[[], UpdateRule]] = {"ttt3r": GatedRule, "recal3r": RecalibratedRule}
#: rules whose rate is the same for all tokens
_CONSTANT = {"plain": 1.0, "damped": 0.5}
RULES = (*_CONSTANT, *_RATED)


def rule_for_view(chosen: StateUpdate, index: int) -> str:
    """The rule, one of `RULES`, for view `index` of a clip. `auto` is plain for the first `UNDAMPED_VIEWS` and ReCal3R
    from then on: what becomes of a view does not depend on how many are still to come."""
    if chosen == "auto":
        return "plain" if index < UNDAMPED_VIEWS else _LONG_CLIPS
    return chosen


class StateAttention:
    """A `DecoderObserver` that averages, over all layers, the attention of the state's tokens to the view's."""

    def __init__(self, *, with_entropy: bool) -> None:
        self._with_entropy = with_entropy
        self._logits: list[Tensor] = []
        self._entropies: list[Tensor] = []

    def layer(self, side: Side, index: int) -> AttentionObserver | None:
        """Watches the state's side alone."""
        return self._watch if side == "state" else None

    def _watch(self, query: Tensor, key: Tensor) -> None:
        self._logits.append(mean_logits(query, key))
        if self._with_entropy:
            # without the pose token, the first of the view
            self._entropies.append(attention_entropy(query, key[:, :, 1:]))

    @property
    def mean_logits(self) -> Tensor:
        """(B, S)"""
        return torch.stack(self._logits).mean(dim=0)

    @property
    def entropy(self) -> Tensor | None:
        """(B, S) in [0, 1]; None if it was not wanted."""
        return torch.stack(self._entropies).mean(dim=0) if self._entropies else None


def decode_and_update(
    network: Cut3rNetwork,
    views: EncodedViews,
    state: SceneState,
    pressure: Tensor,
    rule: str,
    *,
    is_first: bool,
    recorder: SelfAttentionRecorder | None = None,
) -> tuple[Step, SceneState, Tensor]:
    """Decodes a view and moves the state by `rule`, one of `RULES`. Returns the step, the new state, and the pressure
    (B, S) for the next view, of which `pressure` is that of the views before (zeros for the first). `recorder` as for
    `Cut3rNetwork.step`."""
    if is_first or rule == "plain":
        step = network.step(views, state, is_first=is_first, recorder=recorder)
        return step, step.state, pressure
    if rule in _CONSTANT:
        step = network.step(views, state, recorder=recorder)
        return step, state.blended(step.state, _CONSTANT[rule]), pressure
    policy = _RATED[rule]()
    attention = StateAttention(with_entropy=policy.needs_entropy)
    step = network.step(views, state, observer=attention, recorder=recorder)
    evidence = Evidence(
        before=state.features,
        initial=network.initial_state().features,
        mean_logits=attention.mean_logits,
        entropy=attention.entropy,
        embedded=network.decoder_embed(views.tokens),
        decoded=step.layers[-1][:, 1:],
        pressure=pressure,
    )
    rates, pressure = policy.rates(evidence)
    return step, state.blended(step.state, rates[..., None].to(state.features.dtype)), pressure


def attention_gate(logits: Tensor) -> Tensor:
    """TTT3R's gate (B, S) in (0, 1) from the mean logits (B, S) of the state's tokens."""
    return logits.sigmoid()


def advanced_pressure(pressure: Tensor, gate: Tensor) -> Tensor:
    """The running mean (B, S) of a token's gates, p <- 0.95 p + 0.05 g: tokens that were moved much lately resist."""
    return _PRESSURE_DECAY * pressure + (1.0 - _PRESSURE_DECAY) * gate


def residual_score(embedded: Tensor, decoded: Tensor) -> Tensor:
    """How much the state changed the view's tokens (B, N, width), (B,): sigmoid(e - 0.2), where e is the mean length of
    the change relative to the mean length of the embedded tokens."""
    change = (embedded - decoded).float().norm(dim=-1).mean(dim=-1)
    size = embedded.float().norm(dim=-1).mean(dim=-1)
    return torch.sigmoid(change / (size + 1e-6) - _TYPICAL_RESIDUAL)


def stability_prior(features: Tensor, initial: Tensor) -> Tensor:
    """The prior pi (B, S) that a token is reliable: 1 - rank / S of the distance from its initial value (the closest
    one has rank 1), and 1/2 where no token has moved yet."""
    drift = (features.float() - initial.float()).norm(dim=-1)
    prior = 1.0 - (_ranks(drift) + 1.0) / drift.shape[-1]
    return torch.where((drift == 0).all(dim=-1, keepdim=True), 0.5, prior)


def quantiles(values: Tensor) -> Tensor:
    """The ranks of `values` (B, S) in their row as numbers from 0 (least) to 1 (largest)."""
    return _ranks(values) / max(values.shape[-1] - 1, 1)


def recalibrated_rates(gate: Tensor, pressure: Tensor, residual: Tensor, prior: Tensor, entropy: Tensor) -> Tensor:
    """ReCal3R's rates (B, S), of the gate g, the pressure p, the residual r (B,), the prior pi and the quantile h of
    the attention's entropy:

        candidate   = g r exp(-p)
        gamma       = pi (1 - h) / (pi (1 - h) + (1 - pi) h)
        reliability = gamma (2 gamma - 1)^2
        beta        = reliability candidate + (1 - reliability) 0.1

    averaged half and half with the mean over the view's tokens, in [0, 1].
    """
    candidate = gate * residual[:, None] * torch.exp(-pressure)
    for_it, against_it = prior * (1.0 - entropy), (1.0 - prior) * entropy
    gamma = for_it / (for_it + against_it + 1e-8)
    reliability = gamma * (2.0 * gamma - 1.0).square()
    rates = reliability * candidate + (1.0 - reliability) * _BASE_RATE
    rates = _OWN_SHARE * rates + (1.0 - _OWN_SHARE) * rates.mean(dim=-1, keepdim=True)
    return rates.clamp(0.0, 1.0)


def _ranks(values: Tensor) -> Tensor:
    """The rank of each value in its row, 0 for the least, (B, S) float32; equal values rank by their place."""
    return values.argsort(dim=-1, stable=True).argsort(dim=-1).to(torch.float32)
