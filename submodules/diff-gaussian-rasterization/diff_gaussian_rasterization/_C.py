"""The functions of the original's compiled module that do not depend on its private buffers."""

from diff_gaussian_rasterization.drop_in import mark_visible as _mark_visible
from diff_gaussian_rasterization.sparse_adam import adam_update as adamUpdate

__all__ = ["adamUpdate", "mark_visible"]


def mark_visible(positions, viewmatrix, projmatrix):
    """(N,) bool: which points (N, 3) lie beyond the near plane. `projmatrix` has no effect."""
    return _mark_visible(positions, viewmatrix)


def __getattr__(name: str):
    raise AttributeError(
        f"diff_gaussian_rasterization._C has no {name} here: its buffers are private to the original's kernels, "
        "so call GaussianRasterizer instead"
    )
