import numpy as np
import pytest
import torch

from spatial_reduction.networks.mirror_padding import mirror_pad


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (5, 8)])
def test_mirroring_is_numpys_reflection_again_and_again(size):
    image = np.arange(2 * size[0] * size[1], dtype="f4").reshape(1, 2, *size)
    expected = np.pad(image, [(0, 0), (0, 0), (7, 9), (7, 11)], mode="reflect")
    assert np.array_equal(mirror_pad(torch.from_numpy(image), 7, (9, 11)).numpy(), expected)
