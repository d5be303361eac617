import pytest
import torch
from segmentation_models_pytorch import Unet

from experiments import equal
from spatial_reduction.networks import own_network
from spatial_reduction.networks.model_file import build_model, load_model, require_architecture, save_model
from spatial_reduction.networks.own_network import trust_network
from spatial_reduction.runtime import own_code
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.saliency.grad_cam import map_activation

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, in_channels, classes, width=4):
        super().__init__()
        self.body = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Conv2d(width, classes, kernel_size=1)
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)
        self.shift = torch.full((1,), 0.25)

    def forward(self, images):
        return self.head(self.norm(self.body(images)).relu() * self.scale + self.shift)


class Small(Net):
    def forward(self, images):
        return super().forward(images)[..., ::2, ::2]


class Fails(Net):
    def forward(self, images):
        return images.no_such_thing()


class Greedy(nn.Module):
    def __init__(self, channels):
        super().__init__()


def make(in_channels, classes):
    return Net(in_channels, classes)
"""
SMP = {
    "name": "file",
    "path": None,
    "class": "segmentation_models_pytorch:Unet",
    "arguments": {"encoder_name": "resnet18", "encoder_weights": None},
    "stride": 8,
    "bottleneck": "decoder.blocks.0",
}
SMP["arguments"] |= {"encoder_depth": 3, "decoder_channels": [8, 4, 4]}


@pytest.fixture
def section(tmp_path):
    (tmp_path / "my_network.py").write_text(CODE)
    path = str(tmp_path / "my_network.py")
    return {"name": "file", "path": path, "class": "Net", "arguments": {}, "stride": 1, "bottleneck": "body"}


def test_a_class_of_a_file_is_trained_and_read_again_with_all_it_computes_with(section, tmp_path):
    """A buffer that no file holds and a plain tensor must be those that the class makes."""
    network = build_model(3, 2, {**section, "arguments": {"width": 5}}, seed=1).eval()
    save_model(tmp_path / "model", network)
    loaded = load_model(tmp_path / "model").eval()
    images = torch.rand(2, 3, 8, 6)
    assert network.network.body.out_channels == 5
    assert torch.equal(loaded(images), network(images))
    assert loaded.receptive_radius == 1
    require_architecture("model", loaded, 3, 2, {**section, "arguments": {"width": 5}})
    with pytest.raises(InputError, match="another architecture"):
        require_architecture("model", loaded, 3, 2, section)


def test_seeds_draw_its_first_weights(section):
    first, same, other = (build_model(3, 2, section, seed).state_dict() for seed in (1, 1, 2))
    assert equal(first, same)
    assert not equal(first, other)


def test_a_model_file_runs_no_code_that_the_configuration_does_not_name(section, tmp_path, monkeypatch):
    save_model(tmp_path / "model", build_model(3, 2, section, seed=1))
    monkeypatch.setattr(own_network, "_TRUSTED", set())
    (tmp_path / "my_network.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n{CODE}")
    own_code.load_file.cache_clear()
    with pytest.raises(InputError, match=r"my_network\.py, Net\) that this configuration does not name"):
        load_model(tmp_path / "model")
    trust_network({**section, "class": "Other"})
    with pytest.raises(InputError, match="does not name"):
        load_model(tmp_path / "model")
    assert not (tmp_path / "ran").exists()
    trust_network(section)
    load_model(tmp_path / "model")
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"class": "Small"}, r"images \(1, 3, 2, 2\) give \(1, 2, 1, 1\), expected logits \(1, 2, 2, 2\)"),
        ({"class": "Fails"}, r"AttributeError: .*no_such_thing.*my_network\.py, line 26\)"),
        ({"class": "Greedy"}, r"TypeError: .*unexpected keyword argument 'in_channels'"),
        ({"class": "Absent"}, r"holds nothing named 'Absent'"),
        ({"class": "make"}, r"make is no class of torch\.nn\.Module"),
        ({"arguments": {"depth": 3}}, r"TypeError: .*'depth'"),
        ({"path": None, "class": "no_such_package:Net"}, r"ModuleNotFoundError: No module named 'no_such_package'"),
        ({"path": None, "class": "subprocess:Popen"}, r"subprocess:Popen is no class of torch\.nn\.Module"),
    ],
    ids=str,
)
def test_what_is_no_such_network_is_refused_in_one_line(section, changes, reason):
    with pytest.raises(InputError, match=reason) as error:
        build_model(3, 2, {**section, **changes}, seed=1)
    assert "\n" not in str(error.value)


def test_a_mistake_in_a_file_is_named_with_its_line(section, tmp_path):
    (tmp_path / "my_network.py").write_text("import torch\n\nwidth = 1 / 0\n")
    with pytest.raises(InputError, match=r"my_network\.py: ZeroDivisionError: .*line 3\)"):
        build_model(3, 2, section, seed=1)


@pytest.mark.parametrize("layer", [None, "neck"])
def test_the_layer_of_grad_cam_is_asked_for_by_the_names_there_are(section, layer):
    network = build_model(3, 2, {**section, "bottleneck": layer}, seed=1)
    with pytest.raises(InputError, match=r"model\.bottleneck: .*my_network\.py has body, norm, head"):
        network.bottleneck  # noqa: B018  (it looks for the layer)


def test_a_network_of_segmentation_models_pytorch_computes_what_it_does_there():
    network = build_model(1, 3, SMP, seed=1).eval()
    reference = Unet(**SMP["arguments"], in_channels=1, classes=3)
    reference.load_state_dict(network.network.state_dict())
    images = torch.rand(2, 1, 16, 24)
    assert torch.allclose(network(images), reference.eval()(images), atol=1e-5)
    assert map_activation(network.requires_grad_(False), images, [1, 2]).shape == (2, 16, 24)
    assert network.receptive_radius > 30
