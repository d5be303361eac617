import json

import h5py
import numpy as np
import pytest
import torch

from spatial_reduction.data import dataset_file
from spatial_reduction.masks.apply_mask import Removal, fill_removed
from spatial_reduction.masks.mask_file import write_mask
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.masks.score_pixels import Scoring, compute_saliency
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
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


def test_the_scores_of_a_mask_are_those_of_the_image_that_it_comes_from():
    carriers, donors = EXCHANGED.carriers(7, seed=2), EXCHANGED.donors(7, seed=2)
    assert (donors[carriers] == np.arange(7)).all()
    assert (donors != carriers).any()


def test_scores_are_exchanged_among_the_images_of_all_blocks(scores_of, monkeypatch, tmp_path):
    own = scores_of(tmp_path / "a.h5", source="oracle")
    monkeypatch.setattr(dataset_file, "BLOCK_PIXELS", 4 * 256)
    exchanged = scores_of(tmp_path / "b.h5", source="oracle", shuffle=True)
    assert np.array_equal(exchanged[EXCHANGED.carriers(10, seed=1)], own)


def test_a_single_image_has_no_other_to_exchange_with():
    with pytest.raises(InputError, match="there is one image only"):
        EXCHANGED.carriers(1, seed=1)


def test_the_file_of_the_scores_names_their_source(scores_of, tmp_path):
    scores_of(tmp_path / "a.h5", source="probability", rank="lowest")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["source"] == "probability"
        assert json.loads(file.attrs["origin"]) == {}  # nothing was told
        assert file["scores"].fletcher32  # a damaged one is told


@pytest.mark.parametrize("source", ["probability", "entropy", "superpixel", "active"])
def test_a_model_whose_scores_are_not_numbers_stops_the_job(source, scores_of, model_files, tmp_path):
    model = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1)
    for parameter in model.head.parameters():  # finite weights, whose logits are all infinite: inf - inf is no number
        torch.nn.init.constant_(parameter, 3e38)
    save_model(model_files["model"], model)
    with pytest.raises(InputError, match=rf"model\.safetensors: {source} saliency is not a number"):
        scores_of(tmp_path / "a.h5", source=source)
    assert not (tmp_path / "a.h5").exists()


def test_a_single_score_that_is_not_a_number_stops_the_job_which_tells_where(scores_of, monkeypatch, tmp_path):
    monkeypatch.setattr(dataset_file, "BLOCK_PIXELS", 4 * 256)
    source = tmp_path / "own.py"
    source.write_text(
        "def stream_scores(blocks, context):\n"
        "    for number, (images, _) in enumerate(blocks):\n"
        "        scores = images[..., 0].astype('float32')\n"
        "        scores[1, 2, 3] = float('nan' if number else 0)\n"
        "        yield scores\n"
    )
    with pytest.raises(InputError, match=r"own\.py saliency is not a number in training images 4 and on$"):
        scores_of(tmp_path / "a.h5", source=str(source))


def test_a_source_is_shown_the_images_with_the_noise_that_training_showed(model_files, dataset, tmp_path):
    source, kept = tmp_path / "red.py", np.random.default_rng(0).random((10, 16, 16)) < 0.5
    source.write_text(
        "def stream_scores(blocks, context):\n    for images, _ in blocks:\n        yield images[..., 0].astype('f4')\n"
    )
    write_mask(model_files["mask"], iter([kept]), (16, 16), {})
    arm = {"scoring": Scoring(str(source), ["pet"]), "removal": Removal("noise")}
    output = tmp_path / "a.h5"
    compute_saliency(**model_files, output=output, **arm, machine=Machine("cpu", 1), seed=3, iteration=2)
    shown = fill_removed(dataset.pick("train", range(10))[0], kept, "noise", dataset.mean, 3, range(10))
    with open_scores(output, 10, (16, 16)) as scores:
        assert np.array_equal(scores[:], shown[..., 0])


def test_a_model_of_another_architecture_is_refused(scores_of, model_files, tmp_path):
    save_model(model_files["model"], build_model(3, 4, {"name": "unet", "widths": [2, 4]}, seed=1))
    with pytest.raises(InputError, match=r"model\.safetensors: model of another architecture"):
        scores_of(tmp_path / "a.h5", source="probability")
