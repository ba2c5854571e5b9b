"""Runs 20 steps from the golden's initial state: python -m ...twenty_steps shared|perimg GOLDEN.npz OUTPUT.npz.

The pairs of the spanning tree fit exactly at the start, so the first steps follow the rounding of float32 products. MKL
rounds differently on different processors unless MKL_CBWR=COMPATIBLE is set before torch is loaded; `twenty_steps` sets
it for a process of its own, so that the golden's state is met on every x86 machine.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.paths import ROOT


def twenty_steps(kind: str, golden: Path, output: Path) -> dict[str, np.ndarray]:
    """The parameters after 20 steps by their names, and `losses`, computed in a process with MKL_CBWR=COMPATIBLE."""
    command = [sys.executable, "-m", __name__, kind, str(golden), str(output)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "MKL_CBWR": "COMPATIBLE"}, check=True)
    with np.load(output) as arrays:
        return dict(arrays)


def main(kind: str, golden: str, output: str) -> None:
    from tests.dynamic_predictor.das3r.global_alignment.golden_problem import UNKNOWNS, flows_of, problem_of, set_state

    with np.load(golden) as archive:
        data = dict(archive)
    # the official flow loss begins in step 30 of 300
    problem = problem_of(data, kind, iterations=20, flow_loss_start=1.5, loss_evaluation="plain")
    set_state(problem, data, f"{kind}_init")
    problem.flows = flows_of(data)
    losses = problem.optimize()
    unknowns = {name: getattr(problem.parameters, name).numpy() for name in UNKNOWNS.values()}
    np.savez(output, losses=losses, **unknowns)


if __name__ == "__main__":
    main(*sys.argv[1:])
