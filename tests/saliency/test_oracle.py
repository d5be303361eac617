import numpy as np
import pytest

from spatial_reduction.saliency.oracle import signed_distance


def test_the_distance_is_positive_inside_and_negative_outside():
    foreground = np.array([[False, False, True, True, True, False]])
    assert signed_distance(foreground).tolist() == [[-2, -1, 1, 2, 1, -1]]


@pytest.mark.parametrize("value", [True, False])
def test_an_image_of_one_kind_only_has_equal_scores(value):
    assert (signed_distance(np.full((3, 3), value)) == 0).all()


def test_the_oracle_ranks_the_true_foreground_first(scores_of, dataset, tmp_path):
    scores = scores_of(tmp_path / "a.h5", source="oracle")
    labels = dataset.pick("train", range(10))[1]
    for score, label in zip(scores, labels, strict=True):
        foreground = np.isin(label, [1, 2])
        assert score[foreground].min() > score[~foreground].max()
