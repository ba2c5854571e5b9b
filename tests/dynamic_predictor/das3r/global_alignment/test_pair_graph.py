"""Pairs of frames against the official lists, and graphs that are refused."""

import json
import math

import pytest

from dynamic_predictor.das3r.global_alignment.official import OFFICIAL
from dynamic_predictor.das3r.global_alignment.pair_graph import graph_for_clip, pair_edges
from scene.errors import InputError


def test_every_official_graph(golden):
    cases = json.loads(golden("pairs.json").read_text())["pairs"]
    assert len(cases) == 100
    for name, expected in cases.items():
        count, graph, prefilter, symmetrize = name.split("|")
        edges = pair_edges(int(count.removeprefix("n=")), graph, OFFICIAL)
        if symmetrize != "symmetrize":
            edges = _one_direction(edges)
        if prefilter != "None":
            edges = _prefiltered(edges, prefilter)
        assert sorted(map(list, edges)) == sorted(expected), name


def _one_direction(edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The official option symmetrize=False, which has no effect on two frames."""
    half = edges[: len(edges) // 2]
    goes_both_ways = [(j, i) for i, j in half] == edges[len(half) :]
    return half if goes_both_ways and max(map(max, edges), default=0) > 1 else edges


def _prefiltered(edges: list[tuple[int, int]], prefilter: str) -> list[tuple[int, int]]:
    """The official option prefilter: `seqD` keeps frames at most D apart, `cycD` likewise on a ring."""
    limit, count = int(prefilter[3:]), 1 + max(map(max, edges))
    apart = {edge: abs(edge[0] - edge[1]) for edge in edges}
    if prefilter.startswith("cyc"):
        apart = {edge: min(distance, count - distance) for edge, distance in apart.items()}
    return [edge for edge in edges if apart[edge] <= limit]


@pytest.mark.parametrize("graph", ["complete", "swin-3", "swinstride-5-noncyclic", "logwin-3", "swin2stride-2"])
@pytest.mark.parametrize("count", [3, 8, 12])
def test_second_half_mirrors_the_first_and_no_frame_is_paired_with_itself(graph, count):
    edges = pair_edges(count, graph)
    half = len(edges) // 2
    assert [(j, i) for i, j in edges[:half]] == edges[half:]
    assert all(i != j for i, j in edges)
    assert len(set(edges)) == len(edges)


def test_published_pair_count():
    edges = pair_edges(50, "swinstride-5-noncyclic")
    assert len(edges) == 450
    assert {abs(i - j) for i, j in edges} == {1, 3, 5, 7, 9}


@pytest.mark.parametrize("count", range(3, 13))
def test_short_clips_stay_open(count):
    fitted = graph_for_clip(count, "swinstride-5-noncyclic")
    assert fitted.endswith("-noncyclic")
    assert int(fitted.split("-")[1]) == min(5, math.ceil((count - 1) / 2))
    reach = max(abs(i - j) for i, j in pair_edges(count, fitted))
    assert reach <= 2 * int(fitted.split("-")[1]) - 1


def test_the_official_code_turns_short_clips_into_rings():
    assert graph_for_clip(8, "swinstride-5-noncyclic", OFFICIAL) == "swinstride-4"
    ring = graph_for_clip(9, "swinstride-5-noncyclic", OFFICIAL)
    assert len(pair_edges(9, ring, OFFICIAL)) == 72
    assert graph_for_clip(50, "swinstride-5-noncyclic", OFFICIAL) == "swinstride-5-noncyclic"


@pytest.mark.parametrize(
    ("count", "graph"),
    [(1, "complete"), (5, "nonsense"), (5, "swin-0"), (5, "oneref-5"), (2, "swinskip_start-2-noncyclic")],
)
def test_bad_graphs_are_refused_in_one_sentence(count, graph):
    with pytest.raises(InputError) as error:
        pair_edges(count, graph)
    assert str(error.value).count(". ") == 0
