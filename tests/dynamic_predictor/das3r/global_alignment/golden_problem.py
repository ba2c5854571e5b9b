"""The alignment problem of the golden `global_alignment.npz`, and the same problem for the plain loss."""

import numpy as np
import torch

from dynamic_predictor.das3r.global_alignment.align import AlignmentProblem
from dynamic_predictor.das3r.global_alignment.flow_term import FlowObservations
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings

#: official name of each unknown -> its name in `AlignmentParameters`
UNKNOWNS = {"pw_poses": "pair_poses", "im_depthmaps": "log_depth", "im_poses": "poses", "im_focals": "focals"}


def predictions_of(data, dtype=torch.float32) -> PairPredictions:
    """The golden's pair predictions."""
    predictions = PairPredictions(data["edges"], 24, 32, dtype=dtype)
    keys = "pred_i", "conf_i", "pred_j", "conf_j", "mask_i", "mask_j"
    predictions.store(np.arange(len(predictions)), *(data[key] for key in keys))
    return predictions


def flows_of(data) -> list[FlowObservations]:
    """The flows without moving pixels. The golden's backward flows are not the forward flows of the reversed pairs, so
    there are two sets."""
    edges = [tuple(edge) for edge in data["edges"].tolist()]
    forward = {edge: np.moveaxis(flow, 0, -1) for edge, flow in zip(edges, data["flow_ij"], strict=True)}
    backward = {edge[::-1]: np.moveaxis(flow, 0, -1) for edge, flow in zip(edges, data["flow_ji"], strict=True)}
    groups = [
        FlowObservations.of(lambda i, j, flows=flows: flows[i, j], list(flows), 6, 768, dtype=torch.float32)
        for flows in (forward, backward)
    ]
    for group in groups:
        group.exclude_moving(torch.from_numpy(data["dynamic_masks"].reshape(6, -1)))
    return groups


def problem_of(data, kind: str, **settings) -> AlignmentProblem:
    """The initialized problem with the official conventions; `kind` is "shared" or "perimg" for the focal length."""
    chosen = AlignmentSettings(strict_official=True, shared_focal=kind == "shared", **settings)
    problem = AlignmentProblem(predictions_of(data), chosen)
    problem.initialize()
    return problem


def set_state(problem: AlignmentProblem, data, prefix: str) -> None:
    """Sets the unknowns to a state of the golden, for example "shared_init"."""
    for official, ours in UNKNOWNS.items():
        setattr(problem.parameters, ours, torch.from_numpy(data[f"{prefix}_{official}"]).clone())
