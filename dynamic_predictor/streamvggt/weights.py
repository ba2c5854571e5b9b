"""The published files of weights of StreamVGGT and VGGT."""

from dynamic_predictor.weights.entry import WeightsFile

STREAMVGGT, VGGT = WEIGHTS = (
    WeightsFile(
        name="streamvggt",
        system="StreamVGGT",
        purpose="causal depth, pointmaps and cameras",
        license="CC BY-NC-SA 4.0 (no commercial use), with parts under VGGT's license",
        file="checkpoints.pth",
        repository="lch01/StreamVGGT",
        inventory="vggt",
    ),
    WeightsFile(
        name="vggt",
        system="VGGT",
        purpose="depth, pointmaps and cameras of many views; teacher of StreamVGGT",
        license="CC BY-NC 4.0 as the hub says, and VGGT's own license (research only, no commercial use)",
        file="model.pt",
        repository="facebook/VGGT-1B",
        revision="860abec7937da0a4c03c41d3c269c366e82abdf9",
        size=5_026_874_952,
        sha256="d15bf50a8615c8225ed48b51ea5cac673d82442ec0309036df555a053253afe0",
        inventory="vggt",
        other_names=("model.safetensors",),
    ),
)
