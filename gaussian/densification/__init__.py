"""Strategies that add and remove Gaussians during an optimization."""

from gaussian.densification.adaptive import AdaptiveDensityControl
from gaussian.densification.mcmc import McmcStrategy
from gaussian.densification.strategy import DensificationStrategy
from scene.errors import InputError

_STRATEGIES = {"none": DensificationStrategy, "adaptive": AdaptiveDensityControl, "mcmc": McmcStrategy}


def create_strategy(name: str) -> DensificationStrategy:
    """The strategy called `name`. Raises `InputError` if there is none."""
    if name not in _STRATEGIES:
        raise InputError(f'There is no densification called "{name}"; choose one of: {", ".join(_STRATEGIES)}.')
    return _STRATEGIES[name]()
