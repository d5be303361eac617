import math

import numpy as np
import pytest
import torch

from experiments import edited_hdf5
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.ranking import shrink_mask
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.masks.score_pixels import Scoring, compute_saliency
from spatial_reduction.masks.shrink import write_intact_mask
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.saliency.base import Context, stream_scores
from spatial_reduction.saliency.centre import log_gaussian
from spatial_reduction.saliency.oracle import signed_distance
from spatial_reduction.saliency.probability import log_odds


def test_log_odds_of_hand_made_probabilities():
    probabilities = torch.tensor([0.2, 0.5, 0.3])
    logits = probabilities.log().reshape(1, 3, 1, 1)
    assert log_odds(logits, [1, 2]).item() == pytest.approx(math.log(0.8 / 0.2), rel=1e-6)
    assert log_odds(logits, [0]).item() == pytest.approx(math.log(0.2 / 0.8), rel=1e-6)


EXCHANGED = Scoring("random", [], shuffle=True)


@pytest.mark.parametrize("interest", [[1, 2], [0], [2, 0], [1, 2, 4, 5]])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_log_odds_are_those_of_logsumexp_bit_by_bit(interest, memory_format):
    logits = 30 * torch.randn(3, 6, 13, 11, generator=torch.Generator().manual_seed(0)).to(memory_format=memory_format)
    logits = logits[:, : max(interest) + 2]
    others = [index for index in range(logits.shape[1]) if index not in interest]
    expected = logits[:, interest].logsumexp(dim=1) - logits[:, others].logsumexp(dim=1)
    assert torch.equal(log_odds(logits, interest), expected)


def test_log_odds_still_rank_where_the_softmax_is_exactly_one():
    margins = torch.tensor([17.0, 20.0, 40.0])
    logits = torch.stack([torch.zeros(3), margins]).reshape(1, 2, 1, 3)
    assert (logits.softmax(dim=1)[0, 1] == 1).all()
    assert torch.allclose(log_odds(logits, [1]).flatten(), margins)


def test_log_odds_are_float32_whatever_the_network_computes_in():
    assert log_odds(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16), [1]).dtype == torch.float32


def test_the_distance_is_positive_inside_and_negative_outside():
    foreground = np.array([[False, False, True, True, True, False]])
    assert signed_distance(foreground).tolist() == [[-2, -1, 1, 2, 1, -1]]


@pytest.mark.parametrize("value", [True, False])
def test_an_image_of_one_kind_only_has_equal_scores(value):
    assert (signed_distance(np.full((3, 3), value)) == 0).all()


@pytest.fixture
def files(dataset_path, tmp_path):
    save_model(tmp_path / "model.safetensors", build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1))
    write_intact_mask(dataset_path, tmp_path / "mask.h5")
    return {"dataset": dataset_path, "model": tmp_path / "model.safetensors", "mask": tmp_path / "mask.h5"}


def scores_of(files, path, dataset, source="random", seed=1, iteration=2, **changes):
    scoring, machine = Scoring(source, ["pet", "border"], **changes), Machine("cpu", 1)
    compute_saliency(
        **files, output=path, scoring=scoring, removal=Removal(), machine=machine, seed=seed, iteration=iteration
    )
    with open_scores(path, dataset.count("train"), dataset.image_shape[:2]) as scores:
        return scores[:]


@pytest.mark.parametrize("source", ["probability", "random", "random_blocks", "oracle", "centre"])
def test_every_source_scores_every_training_pixel_and_repeats_itself(source, files, dataset, tmp_path):
    first, again = (scores_of(files, tmp_path / name, dataset, source=source) for name in ("a.h5", "b.h5"))
    assert first.shape == (10, 16, 16)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)


@pytest.mark.parametrize("source", ["random", "random_blocks"])
def test_random_scores_differ_between_seeds_and_iterations(source, files, dataset, tmp_path):
    base = scores_of(files, tmp_path / "a.h5", dataset, source=source)
    assert not np.array_equal(base, scores_of(files, tmp_path / "b.h5", dataset, source=source, seed=2))
    assert not np.array_equal(base, scores_of(files, tmp_path / "c.h5", dataset, source=source, iteration=3))


def stream(source, labels, rank="highest"):
    """The scores of one block of images of which a source that needs no model sees the labels only."""
    context = Context("no model", Machine("cpu", 1), 3, [1, 2], seed=1, iteration=2)
    return next(stream_scores(source, [(None, labels)], context, rank))


def test_random_blocks_are_squares_of_a_sixteenth_of_the_side():
    scores = stream("random_blocks", np.zeros((2, 64, 64), np.uint8))
    squares = scores.reshape(2, 16, 4, 16, 4)
    assert (squares == squares[:, :, :1, :, :1]).all()
    assert len(np.unique(scores)) == 2 * 16 * 16


@pytest.mark.parametrize("shape", [(16, 16), (40, 40), (33, 20), (5, 7)])
def test_random_blocks_fit_any_shape_and_any_count_is_kept_exactly(shape):
    scores = stream("random_blocks", np.zeros((3, *shape), np.uint8)).reshape(3, -1)
    for count in (1, scores.shape[1] // 3, scores.shape[1]):
        kept = shrink_mask(np.ones(scores.shape, bool), scores, count)
        assert (kept.sum(axis=1) == count).all()


def test_kept_random_blocks_are_whole_but_for_the_one_that_the_count_cuts():
    scores = stream("random_blocks", np.zeros((4, 64, 64), np.uint8)).reshape(4, -1)
    kept = shrink_mask(np.ones(scores.shape, bool), scores, 1001).reshape(4, 16, 4, 16, 4)
    full = kept.sum(axis=(2, 4))
    assert ((full == 16).sum(axis=(1, 2)) == 1001 // 16).all()
    assert (np.isin(full, [0, 16]).sum(axis=(1, 2)) == 16 * 16 - 1).all()


def test_the_centre_prior_is_hand_made_and_symmetric():
    assert log_gaussian(3, 3).tolist() == [[-1, -0.5, -1], [-0.5, 0, -0.5], [-1, -0.5, -1]]
    scores = stream("centre", np.zeros((2, 8, 8), np.uint8))
    for same in (scores[::-1], scores[:, ::-1], scores[:, :, ::-1], scores.transpose(0, 2, 1)):
        assert np.array_equal(scores, same)
    kept = shrink_mask(np.ones((2, 64), bool), scores.reshape(2, -1), 4).reshape(2, 8, 8)
    assert kept[:, 3:5, 3:5].all()


def test_the_lowest_rank_keeps_what_the_highest_removes(files, dataset, tmp_path):
    highest = scores_of(files, tmp_path / "a.h5", dataset, source="probability").reshape(10, -1)
    lowest = scores_of(files, tmp_path / "b.h5", dataset, source="probability", rank="lowest").reshape(10, -1)
    everything = np.ones(highest.shape, bool)
    assert np.array_equal(shrink_mask(everything, lowest, 64), ~shrink_mask(everything, highest, 192))


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_every_mask_is_carried_by_exactly_one_other_image(count):
    carriers = EXCHANGED.carriers(count, seed=1)
    assert sorted(carriers) == list(range(count))
    assert (carriers != np.arange(count)).all()
    assert np.array_equal(carriers, EXCHANGED.carriers(count, seed=1))
    assert count < 10 or not np.array_equal(carriers, EXCHANGED.carriers(count, seed=2))


def test_a_single_image_has_no_other_to_exchange_with():
    with pytest.raises(InputError, match="there is one image only"):
        EXCHANGED.carriers(1, seed=1)


def test_the_oracle_ranks_the_true_foreground_first(files, dataset, tmp_path):
    scores = scores_of(files, tmp_path / "a.h5", dataset, source="oracle")
    labels = dataset.pick("train", range(10))[1]
    for score, label in zip(scores, labels, strict=True):
        foreground = np.isin(label, [1, 2])
        assert score[foreground].min() > score[~foreground].max()


def test_the_prediction_ranks_as_the_softmax_does(files, dataset, tmp_path):
    scores = scores_of(files, tmp_path / "a.h5", dataset, source="probability")
    model = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1).eval()
    images = torch.from_numpy(dataset.pick("train", range(10))[0]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        relevance = model(images).softmax(dim=1)[:, 1:].sum(dim=1)
    assert np.allclose(1 / (1 + np.exp(-scores)), relevance.numpy(), atol=1e-5)


def test_a_model_whose_scores_are_not_numbers_stops_the_job(files, dataset, tmp_path):
    model = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1)
    torch.nn.init.constant_(model.head.bias, float("nan"))
    save_model(files["model"], model)
    with pytest.raises(InputError, match=r"model\.safetensors: probability saliency is not a number"):
        scores_of(files, tmp_path / "a.h5", dataset, source="probability")
    assert not (tmp_path / "a.h5").exists()


def test_a_model_of_another_architecture_is_refused(files, dataset, tmp_path):
    save_model(files["model"], build_model(3, 4, {"name": "unet", "widths": [2, 4]}, seed=1))
    with pytest.raises(InputError, match=r"model\.safetensors: model of another architecture"):
        scores_of(files, tmp_path / "a.h5", dataset, source="probability")


def test_scores_of_another_shape_are_refused(files, dataset, tmp_path):
    scores_of(files, tmp_path / "a.h5", dataset)
    with edited_hdf5(tmp_path / "a.h5") as file:
        values = file["scores"][:3]
        del file["scores"]
        file["scores"] = values
    with (
        pytest.raises(InputError, match=r"scores are \(3, 16, 16\) float32, expected \(10, 16, 16\)"),
        open_scores(tmp_path / "a.h5", 10, (16, 16)),
    ):
        pass
