import h5py
import numpy as np
import pytest
import torch

from spatial_reduction.masks.score_pixels import Scoring
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.errors import InputError

EXCHANGED = Scoring("random", [], shuffle=True)


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_every_mask_is_carried_by_exactly_one_other_image(count):
    carriers = EXCHANGED.carriers(count, seed=1)
    assert sorted(carriers) == list(range(count))
    assert (carriers != np.arange(count)).all()
    assert np.array_equal(carriers, EXCHANGED.carriers(count, seed=1))
    assert count < 10 or not np.array_equal(carriers, EXCHANGED.carriers(count, seed=2))


def test_who_carries_a_mask_is_drawn_by_the_seed_and_stays_so_from_version_to_version():
    assert [EXCHANGED.carriers(6, seed).tolist() for seed in (1, 2)] == [[5, 2, 0, 1, 3, 4], [1, 2, 3, 5, 0, 4]]


def test_a_single_image_has_no_other_to_exchange_with():
    with pytest.raises(InputError, match="there is one image only"):
        EXCHANGED.carriers(1, seed=1)


def test_the_file_of_the_scores_names_their_source(scores_of, tmp_path):
    scores_of(tmp_path / "a.h5", source="probability", rank="lowest")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["source"] == "probability"


def test_a_model_whose_scores_are_not_numbers_stops_the_job(scores_of, model_files, tmp_path):
    model = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1)
    for parameter in model.head.parameters():  # finite weights, whose logits are all infinite: inf - inf is no number
        torch.nn.init.constant_(parameter, 3e38)
    save_model(model_files["model"], model)
    with pytest.raises(InputError, match=r"model\.safetensors: probability saliency is not a number"):
        scores_of(tmp_path / "a.h5", source="probability")
    assert not (tmp_path / "a.h5").exists()


def test_a_model_of_another_architecture_is_refused(scores_of, model_files, tmp_path):
    save_model(model_files["model"], build_model(3, 4, {"name": "unet", "widths": [2, 4]}, seed=1))
    with pytest.raises(InputError, match=r"model\.safetensors: model of another architecture"):
        scores_of(tmp_path / "a.h5", source="probability")
