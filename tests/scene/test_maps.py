"""Maps per frame, in memory and in a file."""

import resource
import sys

import numpy as np
import pytest

from scene.maps import StoredMaps


@pytest.mark.parametrize("memory_limit", [0, 1 << 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_maps_come_back_as_they_were_written(memory_limit, dtype):
    rng = np.random.default_rng(0)
    written = rng.integers(0, 200, (5, 7, 9)).astype(dtype)
    maps = StoredMaps(5, 7, 9, dtype, memory_limit=memory_limit)
    assert not maps[3].any() and maps[3].dtype == np.float32
    for index in (4, 0, 2, 1):
        maps[index] = written[index]
    maps[-2] = written[3].astype(np.float64)
    assert len(maps) == 5
    np.testing.assert_array_equal(np.stack(list(maps)), written.astype(np.float32))
    first = maps[0]
    first[:] = 7
    np.testing.assert_array_equal(maps[0], written[0].astype(np.float32))
    with pytest.raises(IndexError):
        maps[5]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is counted otherwise here")
def test_large_maps_do_not_count_as_memory_of_the_process():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    maps = StoredMaps(400, 512, 512, np.float32, memory_limit=1 << 20)
    for index in range(len(maps)):
        maps[index] = index
    assert maps[399][0, 0] == 399
    # 400 MiB were written
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
