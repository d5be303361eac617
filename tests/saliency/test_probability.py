import math

import numpy as np
import pytest
import torch

from spatial_reduction.networks.model_file import build_model
from spatial_reduction.saliency.probability import log_odds


def test_log_odds_of_hand_made_probabilities():
    probabilities = torch.tensor([0.2, 0.5, 0.3])
    logits = probabilities.log().reshape(1, 3, 1, 1)
    assert log_odds(logits, [1, 2]).item() == pytest.approx(math.log(0.8 / 0.2), rel=1e-6)
    assert log_odds(logits, [0]).item() == pytest.approx(math.log(0.2 / 0.8), rel=1e-6)


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


def test_the_prediction_ranks_as_the_softmax_does(scores_of, dataset, tmp_path):
    scores = scores_of(tmp_path / "a.h5", source="probability")
    model = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1).eval()
    images = torch.from_numpy(dataset.pick("train", range(10))[0]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        relevance = model(images).softmax(dim=1)[:, 1:].sum(dim=1)
    assert np.allclose(1 / (1 + np.exp(-scores)), relevance.numpy(), atol=1e-5)
