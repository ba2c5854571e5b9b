"""`stillsplat predictors`: the table of predictors, from their specs."""

import argparse

EPILOG = None

_CAPABILITIES = {
    "cameras": "cameras",
    "metric": "meters",
    "motion": "motion masks of its own",
    "attention_motion": "--masks-from attention",
    "single_view": "single images",
    "known_focal": "--fov",
    "known_poses": "known cameras",
    "gaussians": "Gaussians",
    "flow": "--flow",
    "online": "online",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(options: argparse.Namespace) -> int:
    from dynamic_predictor.specs import specs

    for spec in specs().values():
        can = ", ".join(text for name, text in _CAPABILITIES.items() if getattr(spec, name))
        print(f"{spec.name}\n  {spec.description}\n  needs {spec.memory}")
        print(f"  weights: {spec.license or 'none'}\n  can: {can}\n  more: {spec.documentation}")
    return 0
