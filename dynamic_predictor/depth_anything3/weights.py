"""The published models of Depth Anything 3: their files of weights."""

from typing import Any

from dynamic_predictor.weights.entry import NON_COMMERCIAL, WeightsFile


def _depth_anything(
    model: str, purpose: str, license: str, *, inventory: str | None = None, **identity: Any
) -> WeightsFile:
    return WeightsFile(
        name=model.lower(),
        system="Depth Anything 3",
        purpose=purpose,
        license=license,
        file="model.safetensors",
        repository=f"depth-anything/{model}",
        inventory=inventory or model.lower(),
        companions=("config.json",),
        **identity,
    )


_FILES = (
    _depth_anything(
        "DA3-SMALL",
        "depth and cameras of any number of views",
        "Apache-2.0",
        revision="e08cab65ca0ec38e7826075418411ab90cab4da3",
        size=137_248_940,
        sha256="364492e38a3a06d221ac75da7f6621ada3f2361cd24fde11ba79091e9f40efcf",
    ),
    _depth_anything("DA3-BASE", "depth and cameras of any number of views", "Apache-2.0"),
    _depth_anything("DA3-LARGE", "depth and cameras; superseded by da3-large-1.1", NON_COMMERCIAL),
    _depth_anything(
        "DA3-LARGE-1.1",
        "depth and cameras of any number of views",
        NON_COMMERCIAL,
        inventory="da3-large",
        revision="0e109ae307c5982f319a67cf6f9f99ccdc0ec97c",
    ),
    _depth_anything(
        "DA3-GIANT",
        "depth, cameras and Gaussians; superseded by da3-giant-1.1",
        NON_COMMERCIAL,
        revision="7cd62ae9315b9dff094d2d300e4ad012640607dd",
        size=5_422_814_644,
        sha256="1e47a08338ca73a6d6a21d37fd060b26b993b672bc6ddf6295fe474df2592001",
    ),
    _depth_anything(
        "DA3-GIANT-1.1",
        "depth, cameras and Gaussians of any number of views",
        NON_COMMERCIAL,
        inventory="da3-giant",
        revision="72ee9f89ce4e50d704e9d55ee9c646ec8dc25a19",
        size=5_422_814_644,
        sha256="1e47a08338ca73a6d6a21d37fd060b26b993b672bc6ddf6295fe474df2592001",
    ),
    _depth_anything(
        "DA3NESTED-GIANT-LARGE",
        "depth and cameras in meters; superseded by da3nested-giant-large-1.1",
        NON_COMMERCIAL,
    ),
    _depth_anything(
        "DA3NESTED-GIANT-LARGE-1.1",
        "depth and cameras in meters: giant model and metric model in one",
        NON_COMMERCIAL,
        inventory="da3nested-giant-large",
        revision="b2359bdf726fb44ef62acca04d629dcf158053e7",
        size=6_759_558_100,
        sha256="8ebe871a022ed58d2fc8fdfb2ebdb31d57b60fe39611c849095851a7b7c6020c",
    ),
    _depth_anything(
        "DA3METRIC-LARGE",
        "depth in meters and sky of single images",
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
)

#: by name in the weights registry
WEIGHTS = {entry.name: entry for entry in _FILES}
