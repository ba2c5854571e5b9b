"""The process keeps freed memory inside the context and returns it to the system afterwards."""

import platform
import resource

import numpy as np
import pytest

from dynamic_predictor.networks.freed_memory import kept_freed_memory

_LARGE = 64 << 20


def _page_faults_of_repeated_large_arrays() -> int:
    np.ones(_LARGE, np.uint8)  # the first use needs new pages in any case
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(_LARGE, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="NOT CHECKED: only glibc is configured to keep memory")
def test_large_arrays_need_no_new_pages_inside():
    # with huge pages there are few faults even for new memory
    outside = _page_faults_of_repeated_large_arrays()
    with kept_freed_memory(), kept_freed_memory():
        inside = _page_faults_of_repeated_large_arrays()
    assert inside < 64 and inside < max(outside, 64)
    assert _page_faults_of_repeated_large_arrays() >= outside // 2
