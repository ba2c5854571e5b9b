"""The process keeps freed memory inside the context and returns it to the system afterwards."""

import json
import platform
import subprocess
import sys

import pytest

# A process of its own: page faults are counted per process, and threads of other tests cause some too.
_COUNT_PAGE_FAULTS = """
import json
import resource

import numpy as np

from dynamic_predictor.networks.freed_memory import kept_freed_memory

LARGE = 64 << 20


def page_faults_of_repeated_large_arrays() -> int:
    np.ones(LARGE, np.uint8)  # the first use needs new pages in any case
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(LARGE, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


outside = page_faults_of_repeated_large_arrays()
with kept_freed_memory(), kept_freed_memory():
    inside = page_faults_of_repeated_large_arrays()
after = page_faults_of_repeated_large_arrays()
print(json.dumps({"outside": outside, "inside": inside, "after": after}))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="NOT CHECKED: only glibc is configured to keep memory")
def test_large_arrays_need_no_new_pages_inside():
    output = subprocess.run([sys.executable, "-c", _COUNT_PAGE_FAULTS], capture_output=True, text=True, check=True)
    faults = json.loads(output.stdout)
    # with huge pages there are few faults even for new memory
    assert faults["inside"] < max(faults["outside"] // 8, 64)
    assert faults["after"] >= faults["outside"] // 2
