"""The published files of weights of RAFT and SEA-RAFT."""

from dynamic_predictor.weights.entry import WeightsFile

RAFT_SINTEL = WeightsFile(
    name="raft-sintel",
    system="RAFT",
    purpose="optical flow, what DAS3R uses on Sintel",
    license="BSD 3-Clause",
    file="models/raft-sintel.pth",
    url="https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip",
    sha256="90630d2e7d488a0d3ccb5e8194524850c4c05c732ea4ff99799822c7fa5c5cbf",
    inventory="raft-sintel",
)
SEA_RAFT_SPRING_M = WeightsFile(
    name="sea-raft-spring-m",
    system="SEA-RAFT",
    purpose="optical flow with uncertainty, what DAS3R uses on everything but Sintel",
    license="BSD 3-Clause",
    file="model.safetensors",
    repository="MemorySlices/Tartan-C-T-TSKH-spring540x960-M",
    inventory="sea-raft-spring-m",
    other_names=("Tartan-C-T-TSKH-spring540x960-M.pth",),
)
