import pytest

from experiments import edited_hdf5
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.runtime.errors import InputError


def test_scores_of_another_shape_are_refused(scores_of, dataset, tmp_path):
    scores_of(tmp_path / "a.h5")
    with edited_hdf5(tmp_path / "a.h5") as file:
        values = file["scores"][:3]
        del file["scores"]
        file["scores"] = values
    with (
        pytest.raises(InputError, match=r"scores are \(3, 16, 16\) float32, expected \(10, 16, 16\)"),
        open_scores(tmp_path / "a.h5", 10, (16, 16)),
    ):
        pass
