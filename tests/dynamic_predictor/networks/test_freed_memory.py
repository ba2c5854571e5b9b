"""Freed memory stays with the process inside the context, and goes back to the system after it."""

import platform
import resource

import numpy as np
import pytest

from dynamic_predictor.networks.freed_memory import kept_freed_memory

_LARGE = 64 << 20


def _page_faults_of_using_a_large_array_again() -> int:
    np.ones(_LARGE, np.uint8)  # the first use takes fresh pages in any case
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(_LARGE, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="NOT CHECKED: only glibc is told to keep memory")
def test_large_arrays_take_no_fresh_pages_inside():
    # huge pages make for few faults even where memory is fresh
    outside = _page_faults_of_using_a_large_array_again()
    with kept_freed_memory(), kept_freed_memory():
        inside = _page_faults_of_using_a_large_array_again()
    assert inside < 64 and inside < max(outside, 64)
    assert _page_faults_of_using_a_large_array_again() >= outside // 2
