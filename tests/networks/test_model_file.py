import pytest
import torch
from safetensors.torch import save_file

from spatial_reduction.networks.model_file import build_model, load_model, require_architecture, save_model
from spatial_reduction.networks.unet import UNet
from spatial_reduction.runtime.errors import InputError


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_reference_network_has_466595_parameters():
    assert parameters(UNet(in_channels=3, classes=3, widths=[32, 64, 128])) == 466_595


def test_parameters_of_a_small_network_counted_by_hand():
    # encoders 1->2->2 and 2->3->3, upsampler 3->2, decoder 4->2->2, head 2->2
    encoders = (1 * 9 * 2 + 2) + (2 * 9 * 2 + 2) + (2 * 9 * 3 + 3) + (3 * 9 * 3 + 3)
    decoder = (3 * 4 * 2 + 2) + (4 * 9 * 2 + 2) + (2 * 9 * 2 + 2) + (2 * 2 + 2)
    assert parameters(UNet(in_channels=1, classes=2, widths=[2, 3])) == encoders + decoder


@pytest.mark.parametrize("widths", [[4, 8], [4, 8, 16], [2, 3, 5, 7]])
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 3), (5, 4)])
def test_logits_have_the_size_of_the_image(widths, channels, classes):
    images = torch.rand(2, channels, 16, 24)
    assert UNet(channels, classes, widths)(images).shape == (2, classes, 16, 24)


def test_equal_seeds_give_equal_weights_and_others_do_not():
    first, same, other = (build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_model_is_the_same_after_a_round_trip(tmp_path):
    model = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1)
    save_model(tmp_path / "model.safetensors", model)
    images = torch.rand(1, 3, 8, 8)
    loaded = load_model(tmp_path / "model.safetensors")
    assert torch.equal(model.eval()(images), loaded.eval()(images))
    assert loaded.architecture == {"name": "unet", "in_channels": 3, "classes": 3, "widths": [4, 8]}


def test_equal_models_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save_model(tmp_path / name, build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_cut_in_half_is_refused_in_one_line(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"model\.safetensors: not a model of this workflow") as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_foreign_weights_are_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="not a model of this workflow"):
        load_model(tmp_path / "model.safetensors")


def test_a_pickle_is_refused_and_not_run(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.save({"head.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="not a model of this workflow"):
        load_model(path)


def test_a_model_of_another_architecture_is_named():
    model = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1)
    with pytest.raises(InputError, match=r"m\.safetensors: model of another architecture: .*\[4, 8\].*\[4, 16\]"):
        require_architecture("m.safetensors", model, 3, 3, {"name": "unet", "widths": [4, 16]})
    with pytest.raises(InputError, match=r"'classes': 3.*'classes': 2"):
        require_architecture("m.safetensors", model, 3, 2, None)
    with pytest.raises(InputError, match="another architecture"):
        require_architecture("m.safetensors", model, 3, 3, {"name": "unet", "widths": [4, 8], "padding": "valid"})


def test_a_model_file_without_a_key_has_its_default():
    model = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1)
    section = {"name": "unet", "widths": [4, 8], "padding": "same", "dropout": 0, "initialisation": "default"}
    require_architecture("m.safetensors", model, 3, 3, section)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_file(tmp_path, value):
    model = build_model(3, 3, {"name": "unet", "widths": [4, 8]}, seed=1)
    with torch.no_grad():
        model.head.weight[0, 0] = value
    save_model(tmp_path / "model.safetensors", model)
    with pytest.raises(InputError, match=r"model\.safetensors: .*a weight is not a finite number"):
        load_model(tmp_path / "model.safetensors")
