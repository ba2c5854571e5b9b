"""Nearest-neighbor distances; see `simple_knn._C.distCUDA2`."""

from simple_knn._C import distCUDA2

__all__ = ["distCUDA2"]
