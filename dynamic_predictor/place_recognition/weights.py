"""The published file of weights of SALAD."""

from dynamic_predictor.weights.entry import WeightsFile

SALAD = WeightsFile(
    name="salad",
    system="SALAD",
    purpose="place recognition, for closing loops in long videos",
    license="GPL-3.0 (of the repository; none is stated for the weights)",
    file="dino_salad.ckpt",
    url="https://github.com/serizba/salad/releases/download/v1.0.0/dino_salad.ckpt",
    size=352_040_378,
    sha256="6b3f1720954293e83da6966c5cfcfc6713200d7fefadcca76fc51aeb80b3cada",
)
