import numpy as np
import pytest
import torch

from spatial_reduction.training.epoch import segmentation_loss


def test_the_loss_of_one_labelled_pixel_is_minus_its_log_probability():
    logits = torch.tensor([0.2, 0.5, 0.3]).log().reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    labels = torch.tensor([[[1, 255]]], dtype=torch.uint8)
    assert segmentation_loss(logits, labels).item() == pytest.approx(-np.log(0.5), rel=1e-6)


def test_a_batch_without_a_labelled_pixel_has_loss_zero():
    assert segmentation_loss(torch.rand(1, 3, 2, 2), torch.full((1, 2, 2), 255, dtype=torch.uint8)).item() == 0
