import torch

from spatial_reduction.networks.inference import to_input


def test_input_is_scaled_to_one_and_channels_last():
    images = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    batch = to_input(images.expand(1, 2, 2, 3).contiguous())
    assert batch.shape == (1, 3, 2, 2)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(batch[0, :, 0, 0], torch.tensor([0.0, 0.2, 1.0]))
