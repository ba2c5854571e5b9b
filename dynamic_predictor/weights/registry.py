"""Every official file of weights that the toolkit can use.

Sizes and checksums are those that public sources state for the file; where no source was seen they are None.
"""

from dataclasses import dataclass

from scene.errors import InputError


@dataclass(frozen=True)
class WeightsFile:
    """One published file of weights.

    `file` is its path inside the hub `repository`, inside the archive at `url`, or the name under which `page` offers
    it. `inventory` names the table of checkpoint keys and shapes that the file must have. `companions` lie beside it
    in the repository. `other_names` are further official file names of the same weights (another container).
    `in_torch_hub`: other packages look for it in torch's own folder of downloads, so it is kept there.
    """

    name: str
    system: str
    purpose: str
    license: str
    file: str
    repository: str | None = None
    revision: str | None = None
    url: str | None = None
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    inventory: str | None = None
    companions: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    in_torch_hub: bool = False

    @property
    def source(self) -> str:
        """Where the file is published, for people."""
        if self.repository is not None:
            return f"https://huggingface.co/{self.repository}"
        return self.url or self.page or ""

    @property
    def file_name(self) -> str:
        return self.file.rsplit("/", 1)[-1]


_NON_COMMERCIAL = "CC BY-NC 4.0 (no commercial use)"
_DUST3R_FAMILY = "CC BY-NC-SA 4.0 (no commercial use), as DUSt3R and CroCo from which it was trained"


def _depth_anything(
    model: str,
    purpose: str,
    license: str,
    *,
    inventory: str | None = None,
    revision: str | None = None,
    size: int | None = None,
    sha256: str | None = None,
) -> WeightsFile:
    return WeightsFile(
        name=model.lower(),
        system="Depth Anything 3",
        purpose=purpose,
        license=license,
        file="model.safetensors",
        repository=f"depth-anything/{model}",
        revision=revision,
        size=size,
        sha256=sha256,
        inventory=inventory or model.lower(),
        companions=("config.json",),
    )


_ENTRIES = (
    WeightsFile(
        name="das3r",
        system="DAS3R",
        purpose="pointmaps, confidence and motion masks of frame pairs",
        license=_DUST3R_FAMILY,
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
        license=_DUST3R_FAMILY,
        file="model.safetensors",
        repository="Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt",
        inventory="monst3r",
        companions=("config.json",),
        other_names=("MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt.pth",),
    ),
    WeightsFile(
        name="raft-sintel",
        system="RAFT",
        purpose="optical flow, what DAS3R uses on Sintel",
        license="BSD 3-Clause",
        file="models/raft-sintel.pth",
        url="https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip",
        sha256="90630d2e7d488a0d3ccb5e8194524850c4c05c732ea4ff99799822c7fa5c5cbf",
        inventory="raft-sintel",
    ),
    WeightsFile(
        name="sea-raft-spring-m",
        system="SEA-RAFT",
        purpose="optical flow with uncertainty, what DAS3R uses on everything but Sintel",
        license="BSD 3-Clause",
        file="model.safetensors",
        repository="MemorySlices/Tartan-C-T-TSKH-spring540x960-M",
        inventory="sea-raft-spring-m",
        other_names=("Tartan-C-T-TSKH-spring540x960-M.pth",),
    ),
    _depth_anything(
        "DA3-SMALL",
        "depth and cameras of any number of views",
        "Apache-2.0",
        revision="e08cab65ca0ec38e7826075418411ab90cab4da3",
        size=137_248_940,
        sha256="364492e38a3a06d221ac75da7f6621ada3f2361cd24fde11ba79091e9f40efcf",
    ),
    _depth_anything("DA3-BASE", "depth and cameras of any number of views", "Apache-2.0"),
    _depth_anything("DA3-LARGE", "depth and cameras; superseded by da3-large-1.1", _NON_COMMERCIAL),
    _depth_anything(
        "DA3-LARGE-1.1",
        "depth and cameras of any number of views",
        _NON_COMMERCIAL,
        inventory="da3-large",
        revision="0e109ae307c5982f319a67cf6f9f99ccdc0ec97c",
    ),
    _depth_anything(
        "DA3-GIANT",
        "depth, cameras and Gaussians; superseded by da3-giant-1.1",
        _NON_COMMERCIAL,
        revision="7cd62ae9315b9dff094d2d300e4ad012640607dd",
        size=5_422_814_644,
        sha256="1e47a08338ca73a6d6a21d37fd060b26b993b672bc6ddf6295fe474df2592001",
    ),
    _depth_anything(
        "DA3-GIANT-1.1",
        "depth, cameras and Gaussians of any number of views",
        _NON_COMMERCIAL,
        inventory="da3-giant",
        revision="72ee9f89ce4e50d704e9d55ee9c646ec8dc25a19",
        size=5_422_814_644,
        sha256="1e47a08338ca73a6d6a21d37fd060b26b993b672bc6ddf6295fe474df2592001",
    ),
    _depth_anything(
        "DA3NESTED-GIANT-LARGE",
        "depth and cameras in metres; superseded by da3nested-giant-large-1.1",
        _NON_COMMERCIAL,
    ),
    _depth_anything(
        "DA3NESTED-GIANT-LARGE-1.1",
        "depth and cameras in metres: giant model and metric model in one",
        _NON_COMMERCIAL,
        inventory="da3nested-giant-large",
        revision="b2359bdf726fb44ef62acca04d629dcf158053e7",
        size=6_759_558_100,
        sha256="8ebe871a022ed58d2fc8fdfb2ebdb31d57b60fe39611c849095851a7b7c6020c",
    ),
    _depth_anything(
        "DA3METRIC-LARGE",
        "depth in metres and sky of single images",
        "Apache-2.0",
        revision="4010e39f3634a45bc60553321fb49fb760bd594e",
        size=1_336_734_448,
        sha256="bbea5b0b3ee389849cffa7ddae89de064a90abd2b055fc5aa99aac68db324776",
    ),
    _depth_anything(
        "DA3MONO-LARGE",
        "relative depth and sky of single images",
        "Apache-2.0",
        inventory="da3metric-large",
        revision="f465978e618db8cc79c83b8bbf24964857db1875",
    ),
    WeightsFile(
        name="cut3r-512",
        system="CUT3R",
        purpose="online pointmaps and cameras, 512 pixels",
        license=_DUST3R_FAMILY,
        file="cut3r_512_dpt_4_64.pth",
        # CUT3R itself publishes on Google Drive alone; this is the copy that the authors of VMem keep on the hub
        repository="liguang0115/cut3r",
        revision="b14faf986da0df405cff1b41e60e2975c4da2745",
        page="https://drive.google.com/file/d/1Asz-ZB3FfpzZYwunhQvNPZEUA8XUNAYD/view",
        size=3_173_761_006,
        sha256="45f7e98a0a64dbeb54901ae2b878cd8cd125f20a4497316483f0bd6f109f8103",
        inventory="cut3r-512",
    ),
    WeightsFile(
        name="cut3r-224",
        system="CUT3R",
        purpose="online pointmaps and cameras, 224 pixels",
        license=_DUST3R_FAMILY,
        file="cut3r_224_linear_4.pth",
        page="https://drive.google.com/file/d/11dAgFkWHpaOHsR6iuitlB_v4NFFBrWjy/view",
        inventory="cut3r-224",
    ),
    WeightsFile(
        name="streamvggt",
        system="StreamVGGT",
        purpose="causal depth, pointmaps and cameras",
        license="CC BY-NC-SA 4.0 (no commercial use), with parts under VGGT's licence",
        file="checkpoints.pth",
        repository="lch01/StreamVGGT",
        inventory="vggt",
    ),
    WeightsFile(
        name="vggt",
        system="VGGT",
        purpose="depth, pointmaps and cameras of many views; teacher of StreamVGGT",
        license="VGGT-1B's own licence (research only, no commercial use)",
        file="model.pt",
        repository="facebook/VGGT-1B",
        revision="860abec7937da0a4c03c41d3c269c366e82abdf9",
        size=5_026_874_952,
        sha256="d15bf50a8615c8225ed48b51ea5cac673d82442ec0309036df555a053253afe0",
        inventory="vggt",
    ),
    WeightsFile(
        name="salad",
        system="SALAD",
        purpose="place recognition, for closing loops in long videos",
        license="GPL-3.0 (of the repository; none is stated for the weights)",
        file="dino_salad.ckpt",
        url="https://github.com/serizba/salad/releases/download/v1.0.0/dino_salad.ckpt",
        size=352_040_378,
        sha256="6b3f1720954293e83da6966c5cfcfc6713200d7fefadcca76fc51aeb80b3cada",
    ),
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

_REGISTRY = {entry.name: entry for entry in _ENTRIES}


def all_weights() -> dict[str, WeightsFile]:
    """Every entry by name, in the order of the documentation."""
    return dict(_REGISTRY)


def weights_entry(name: str) -> WeightsFile:
    """The entry called `name` (also by hub repository or official file name, any case); `InputError` lists the names
    otherwise."""
    wanted = name.strip().lower()
    for entry in _ENTRIES:
        spellings = [entry.name, entry.repository or "", *entry.other_names]
        if not _is_generic(entry.file_name):
            spellings.append(entry.file_name)
        if wanted in (spelling.lower() for spelling in spellings if spelling):
            return entry
    raise InputError(f'There are no weights called "{name}"; choose one of: {", ".join(_REGISTRY)}.')


def _is_generic(file_name: str) -> bool:
    """Whether many repositories use this file name, so that it says nothing about the content."""
    return file_name in {"model.safetensors", "model.pt", "checkpoints.pth"}


def local_names(entry: WeightsFile) -> list[str]:
    """Where the file may lie inside a weights folder, relative to it, the first being where `get` puts it."""
    names = [f"{entry.name}/{entry.file_name}"]
    names += [f"{entry.name}/{other}" for other in entry.other_names]
    if not _is_generic(entry.file_name):
        names.append(entry.file_name)
    names += entry.other_names
    names.append(entry.name + "." + entry.file_name.rsplit(".", 1)[-1])
    return names
