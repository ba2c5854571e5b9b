"""The choice of the engine that does the work of an evaluation, from the command line and the environment."""

import os

from dynamic_predictor.evaluation.distribution import Engine, OneProcess
from dynamic_predictor.evaluation.ray_tasks import RayTasks
from dynamic_predictor.evaluation.torchrun_processes import TorchrunProcesses
from scene.errors import InputError

ENGINES = ("auto", "ray")


def chosen_engine(name: str = "auto", *, ray_address: str | None = None, device: str = "auto") -> Engine:
    """The engine called `name`: "auto" (torchrun's processes where it started this one, else one process) or "ray".

    Raises `InputError` for Ray where it is not installed or torchrun is used, for an address without Ray, and for more
    processes than GPUs.
    """
    has_processes = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if name == "ray":
        if has_processes:
            raise InputError("--engine ray distributes the work itself; start it without torchrun.")
        return RayTasks(ray_address, use_gpu=device != "cpu")
    if ray_address is not None:
        raise InputError("--ray_address is of --engine ray; add it, or leave out the address.")
    return TorchrunProcesses.from_environment(device) if has_processes else OneProcess()
