"""Depth Anything 3 (Lin et al., 2025): depth, rays and cameras of any number of views, in our own code over the
published weights.

```python
from dynamic_predictor.depth_anything3 import AutoModel, DepthAnything3

prediction = DepthAnything3.from_pretrained("da3-small").inference(["a.jpg", "b.jpg"])
depth_maps = AutoModel.from_pretrained("depth-anything-v3/small")("a.jpg")
```
"""

from typing import Any

_WHERE = {"AutoModel": "monocular", "DepthAnything3": "model", "Prediction": "prediction"}

__all__ = ["AutoModel", "DepthAnything3", "Prediction"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """The names above, imported when they are used: the settings of the models need no torch."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
