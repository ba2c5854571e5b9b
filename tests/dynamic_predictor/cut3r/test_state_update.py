"""Update rules against their formulas in loops over tokens, and what must not change them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r.attention_maps import AttentionMaps
from dynamic_predictor.cut3r.network import Cut3rNetwork, EncodedViews, SceneState
from dynamic_predictor.cut3r.state_update import (
    RULES,
    UNDAMPED_VIEWS,
    Evidence,
    GatedRule,
    RecalibratedRule,
    StateAttention,
    decode_and_update,
    rule_for_view,
    stability_prior,
)
from dynamic_predictor.networks.transformer import DecoderBlock
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network

STATE, VIEW, WIDTH = 7, 5, 6


def _evidence(batch: int = 2, seed: int = 0) -> Evidence:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Evidence(
        before=normal(batch, STATE, WIDTH),
        initial=normal(1, STATE, WIDTH),
        mean_logits=normal(batch, STATE),
        entropy=torch.rand((batch, STATE), generator=generator),
        embedded=normal(batch, VIEW, WIDTH),
        decoded=normal(batch, VIEW, WIDTH),
        pressure=torch.rand((batch, STATE), generator=generator),
    )


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _recal3r_twin(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """The formulas as published, one clip and one token at a time."""
    parts = {name: getattr(evidence, name).double().numpy() for name in evidence.__dataclass_fields__}
    rates, pressures = np.zeros((2, len(parts["before"]), STATE))
    for b in range(len(rates)):
        drift = [np.linalg.norm(parts["before"][b, m] - parts["initial"][0, m]) for m in range(STATE)]
        entropies = parts["entropy"][b]
        errors = [np.linalg.norm(parts["embedded"][b, n] - parts["decoded"][b, n]) for n in range(VIEW)]
        sizes = [np.linalg.norm(parts["embedded"][b, n]) for n in range(VIEW)]
        residual = _sigmoid(float(np.mean(errors) / (np.mean(sizes) + 1e-6)) - 0.2)
        for m in range(STATE):
            gate = _sigmoid(parts["mean_logits"][b, m])
            pressures[b, m] = 0.95 * parts["pressure"][b, m] + 0.05 * gate
            candidate = gate * residual * math.exp(-pressures[b, m])
            prior = 1 - sum(other <= drift[m] for other in drift) / STATE
            h = sum(other < entropies[m] for other in entropies) / (STATE - 1)
            gamma = prior * (1 - h) / (prior * (1 - h) + (1 - prior) * h + 1e-8)
            unreliable = 1 - gamma * (1 - 4 * gamma * (1 - gamma))  # as the official code writes it
            rates[b, m] = (1 - unreliable) * candidate + unreliable * 0.1
        rates[b] = 0.5 * rates[b] + 0.5 * rates[b].mean()
    return rates.clip(0, 1), pressures


def test_ttt3r_against_its_formula():
    evidence = _evidence()
    rates, pressure = GatedRule().rates(evidence)
    for b in range(2):
        for m in range(STATE):
            assert abs(float(rates[b, m]) - _sigmoid(float(evidence.mean_logits[b, m]))) < 1e-6
    assert torch.equal(pressure, evidence.pressure)


def test_recal3r_against_its_formula():
    for seed in range(3):
        evidence = _evidence(seed=seed)
        rates, pressure = RecalibratedRule().rates(evidence)
        expected, expected_pressure = _recal3r_twin(evidence)
        np.testing.assert_allclose(rates.numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(pressure.numpy(), expected_pressure, atol=1e-6)


def test_prior_before_anything_moved_is_one_half():
    initial = torch.randn(1, STATE, WIDTH)
    prior = stability_prior(initial.expand(2, -1, -1), initial)
    assert torch.equal(prior, torch.full((2, STATE), 0.5))


@pytest.mark.parametrize("rule", [GatedRule(), RecalibratedRule()])
def test_invariances_of_the_rates(rule):
    evidence = _evidence(batch=3)
    rates, pressure = rule.rates(evidence)
    assert float(rates.min()) >= 0 and float(rates.max()) <= 1
    again, _ = rule.rates(evidence)
    assert torch.equal(rates, again)
    # the order of the state's tokens
    order = torch.randperm(STATE, generator=torch.Generator().manual_seed(1))
    of_state = ("before", "initial", "mean_logits", "entropy", "pressure")
    permuted = replace(evidence, **{name: getattr(evidence, name)[:, order] for name in of_state})
    moved, moved_pressure = rule.rates(permuted)
    torch.testing.assert_close(moved, rates[:, order])
    torch.testing.assert_close(moved_pressure, pressure[:, order])
    # the order of the view's tokens
    order = torch.randperm(VIEW, generator=torch.Generator().manual_seed(2))
    shuffled = replace(evidence, embedded=evidence.embedded[:, order], decoded=evidence.decoded[:, order])
    torch.testing.assert_close(rule.rates(shuffled)[0], rates)
    # the other clips of the batch
    for b in range(3):
        parts = {name: getattr(evidence, name) for name in evidence.__dataclass_fields__}
        alone = Evidence(**{name: part if name == "initial" else part[b : b + 1] for name, part in parts.items()})
        torch.testing.assert_close(rule.rates(alone)[0][0], rates[b])
    # extreme gates stay in range
    for logit in (-1e4, 1e4):
        extreme, _ = rule.rates(replace(evidence, mean_logits=torch.full((3, STATE), logit)))
        assert float(extreme.min()) >= 0 and float(extreme.max()) <= 1


def test_observed_attention_against_loops():
    """Mean logits and entropy of a real decoder layer, from explicit weights of every head; the result of the layer is
    the same with and without an observer."""
    torch.manual_seed(0)
    block = DecoderBlock(8, 2).double()
    state, view = torch.randn(2, 3, 8).double(), torch.randn(2, 4, 8).double()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    attention = StateAttention(with_entropy=True)
    watch = attention.layer("state", 0)
    assert watch is not None and attention.layer("view", 0) is None

    def observer(query: torch.Tensor, key: torch.Tensor) -> None:
        seen.append((query, key))
        watch(query, key)

    assert torch.equal(block(state, view, observer=observer), block(state, view))
    query, key = (part.numpy() for part in seen[0])
    for b in range(2):
        for m in range(3):
            logits = np.array([[query[b, h, m] @ key[b, h, n] / 2.0 for n in range(4)] for h in range(2)])
            assert abs(float(attention.mean_logits[b, m]) - logits.mean()) < 1e-6
            entropies = []
            for h in range(2):
                weights = np.exp(logits[h, 1:])  # without the pose token
                weights /= weights.sum()
                entropies.append(-(weights * np.log(weights)).sum() / np.log(3))
            entropy = attention.entropy
            assert entropy is not None and abs(float(entropy[b, m]) - np.mean(entropies)) < 1e-6


@pytest.fixture(scope="module")
def network() -> Cut3rNetwork:
    return filled_network(MINIMAL)


@pytest.fixture(scope="module")
def view(network) -> EncodedViews:
    with torch.no_grad():
        return network.encode_images(torch.rand((1, 3, 32, 48), generator=torch.Generator().manual_seed(5)) * 2 - 1)


def _random_state(network: Cut3rNetwork, seed: int = 0) -> SceneState:
    generator = torch.Generator().manual_seed(seed)
    initial = network.initial_state()
    return SceneState(
        initial.features + torch.randn(initial.features.shape, generator=generator),
        initial.memory + torch.randn(initial.memory.shape, generator=generator),
    )


def test_rules_on_the_network(network, view):
    """The step is the same under every rule; the state moves by the rates and the memory of poses entirely."""
    state = _random_state(network)
    pressure = torch.zeros(1, MINIMAL.state_size)
    plain, proposed, _ = decode_and_update(network, view, state, pressure, "plain", is_first=False)
    assert torch.equal(proposed.features, plain.state.features)
    for rule in RULES:
        first, replaced, same = decode_and_update(network, view, state, pressure, rule, is_first=True)
        assert torch.equal(replaced.features, first.state.features) and torch.equal(same, pressure)
        step, updated, after = decode_and_update(network, view, state, pressure, rule, is_first=False)
        for ours, theirs in zip(step.layers, plain.layers, strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(updated.memory, plain.state.memory)
        share = (updated.features - state.features) / (proposed.features - state.features)
        per_token = share.median(dim=-1).values
        torch.testing.assert_close(share, per_token[..., None].expand_as(share), rtol=0.02, atol=0.02)
        if rule == "damped":
            torch.testing.assert_close(updated.features, (state.features + proposed.features) / 2)
        assert (float(after.max()) > 0) == (rule == "recal3r")


def test_a_rate_of_one_replaces_and_of_zero_keeps_the_state(network, view):
    state = _random_state(network)
    step = network.step(view, state)
    rate = torch.ones(1, MINIMAL.state_size, 1)
    assert torch.equal(state.blended(step.state, rate).features, step.state.features)
    assert torch.equal(state.blended(step.state, 0 * rate).features, state.features)


def test_the_choice_for_each_view():
    assert [rule_for_view("auto", index) for index in (0, UNDAMPED_VIEWS - 1, UNDAMPED_VIEWS, 1000)] == [
        "plain",
        "plain",
        "recal3r",
        "recal3r",
    ]
    assert all(rule_for_view("ttt3r", index) == "ttt3r" for index in (0, 100))


def test_maps_of_the_attention(network, view):
    maps = AttentionMaps()
    network.step(view, _random_state(network), observer=maps)
    for kept in (maps.received, maps.asked, maps.asking):
        assert len(kept) == MINIMAL.decoder_depth
        assert all(layer.shape == (1, 6) and bool(layer.isfinite().all()) for layer in kept)
    assert all(0 < float(layer.sum()) < 1 for layer in maps.received)  # the pose token has the rest
