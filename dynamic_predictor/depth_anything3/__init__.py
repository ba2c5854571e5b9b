"""Depth Anything 3 (Lin et al., "Depth Anything 3: Recovering the Visual Space from Any Views", 2025): depth, rays and
cameras of any number of views, in our own code over the published weights.

```python
from dynamic_predictor.depth_anything3 import AutoModel, DepthAnything3

prediction = DepthAnything3.from_pretrained("da3-small").inference(["a.jpg", "b.jpg"])
depth_maps = AutoModel.from_pretrained("depth-anything-v3/small")("a.jpg")
```
"""

from typing import Any

_MODULES = {"AutoModel": "monocular", "DepthAnything3": "model", "DepthAnything3Prediction": "prediction"}

#: `Prediction` is what the official package calls `DepthAnything3Prediction`
__all__ = ["AutoModel", "DepthAnything3", "DepthAnything3Prediction", "Prediction"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports the names above on first use, since the settings of the models are needed without torch."""
    name = "DepthAnything3Prediction" if name == "Prediction" else name
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
