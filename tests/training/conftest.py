"""What the tests of batches and of where images lie share."""

import numpy as np
import pytest

from spatial_reduction.masks.mask_file import write_mask


@pytest.fixture
def half(tmp_path):
    """A mask of the 10 training images: rows 4 to 11 and columns 2 to 9 of 16 x 16 are kept."""
    kept = np.zeros((10, 16, 16), dtype=bool)
    kept[:, 4:12, 2:10] = True
    write_mask(tmp_path / "half.h5", iter([kept]), (16, 16), {})
    return tmp_path / "half.h5", kept
