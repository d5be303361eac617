import re

import numpy as np
import pytest

from experiments import edited_hdf5
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.runtime.errors import InputError


@pytest.mark.parametrize(
    ("change", "found"),
    [(lambda scores: scores[:3], "(3, 16, 16) float32"), (np.float64, "(10, 16, 16) float64")],
)
def test_scores_of_another_shape_or_type_are_refused(change, found, scores_of, tmp_path):
    scores_of(tmp_path / "a.h5")
    with edited_hdf5(tmp_path / "a.h5") as file:
        values = change(file["scores"][:])
        del file["scores"]
        file["scores"] = values
    expected = f"a.h5: scores are {found}, expected (10, 16, 16) float32"
    with pytest.raises(InputError, match=f"{re.escape(expected)}$"), open_scores(tmp_path / "a.h5", 10, (16, 16)):
        pass
