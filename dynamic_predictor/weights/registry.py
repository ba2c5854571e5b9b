"""Every official file of weights that the toolkit can use, by name.

Systems declare their files beside their code, in their row of `dynamic_predictor.specs` or, for what is no predictor,
in a `weights.py`; here they are collected. Sizes and checksums are those that public sources state, or None.
"""

from pathlib import Path

from dynamic_predictor.mask_refinement.weights import SAM2
from dynamic_predictor.optical_flow.specs import FLOWS
from dynamic_predictor.place_recognition.weights import SALAD
from dynamic_predictor.specs import specs
from dynamic_predictor.weights.entry import WeightsFile, is_generic, local_names
from dynamic_predictor.weights.finding import require_weights, weights_folders
from scene.errors import InputError

#: files of networks that are not built yet, and of scores
_OTHERS = (
    WeightsFile(
        name="lpips-alexnet",
        system="LPIPS",
        purpose="backbone of the LPIPS score (its linear layers come with the lpips package)",
        license="BSD 3-Clause (torchvision)",
        file="alexnet-owt-7be5be79.pth",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        in_torch_hub=True,
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    WeightsFile(
        name="lpips-vgg16",
        system="LPIPS",
        purpose="backbone of the LPIPS score, VGG variant",
        license="BSD 3-Clause (torchvision)",
        file="vgg16-397923af.pth",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        in_torch_hub=True,
        size=553_433_881,
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
)


def all_weights() -> dict[str, WeightsFile]:
    """Every entry by name: those of predictors first, then of optical flow, then the others."""
    of_predictors = [entry for spec in specs().values() for entry in spec.weights]
    of_flows = [spec.weights for spec in FLOWS.values() if spec.weights is not None]
    return {entry.name: entry for entry in (*of_predictors, *of_flows, *SAM2.values(), SALAD, *_OTHERS)}


def weights_entry(name: str) -> WeightsFile:
    """The entry called `name`, or by its repository or file; `InputError` lists the names otherwise."""
    wanted = name.strip().lower()
    entries = all_weights()
    for entry in entries.values():
        files = [name for name in (entry.file_name, *entry.other_names) if not is_generic(name)]
        spellings = [entry.name, entry.repository or "", *files]
        if wanted in (spelling.lower() for spelling in spellings if spelling):
            return entry
    raise InputError(f'There are no weights called "{name}"; choose one of: {", ".join(entries)}.')


def given_weights(text: str | Path) -> Path:
    """The file or folder that a user named without saying of which network: as it stands, or, for the official name of
    a file or an entry, where weights are kept. There, a file of that name comes first, and then any other official
    file of the same weights. Raises `InputError` when there is none, which tells how to get an official one."""
    path = Path(text).expanduser()
    if path.exists():
        return path
    try:
        entry = weights_entry(str(text))
    except InputError:
        raise InputError(
            f"There is no file {path}; `stillsplat weights list` says where weights are published."
        ) from None
    for folder in weights_folders():
        for relative in local_names(entry):
            if Path(relative).name.lower() == path.name.lower() and (folder / relative).is_file():
                return folder / relative
    return require_weights(entry)
