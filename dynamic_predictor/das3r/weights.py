"""The published files of weights of DAS3R and MonST3R."""

from dynamic_predictor.weights.entry import DUST3R_FAMILY, WeightsFile

DAS3R, MONST3R = WEIGHTS = (
    WeightsFile(
        name="das3r",
        system="DAS3R",
        purpose="pointmaps, confidence and motion masks of frame pairs",
        license=DUST3R_FAMILY,
        file="model.safetensors",
        repository="Kai422kx/das3r",
        inventory="das3r",
        companions=("config.json",),
        other_names=("das3r_checkpoint-last.pth",),
    ),
    WeightsFile(
        name="monst3r",
        system="MonST3R",
        purpose="pointmaps and confidence of frame pairs; start of DAS3R's training",
        license=DUST3R_FAMILY,
        file="model.safetensors",
        repository="Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt",
        inventory="monst3r",
        companions=("config.json",),
        other_names=("MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt.pth",),
    ),
)
