import numpy as np
import onnxruntime
import pytest
import timm
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from experiments import compute_logits_tiled, equal
from spatial_reduction.networks.encoder_unet import EncoderUNet
from spatial_reduction.networks.encoder_weights import fetch_encoder, load_encoder
from spatial_reduction.networks.model_file import build_model, load_model, require_architecture, save_model
from spatial_reduction.networks.onnx_export import export_model
from spatial_reduction.networks.receptive_field import measure_receptive_radius
from spatial_reduction.networks.unet import UNet
from spatial_reduction.networks.unet import receptive_radius as formula
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.saliency.grad_cam import map_activation

LITE0 = "tf_efficientnet_lite0"
SMALL = {"name": "encoder_unet", "encoder": LITE0, "widths": [2, 4], "weights": None}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights of the installed package, as the workflow writes them."""
    path = tmp_path_factory.mktemp("encoders") / f"{LITE0}.safetensors"
    fetch_encoder(LITE0, "imagenet", path)
    return path


def random_images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 3), (5, 4)])
def test_logits_have_the_size_of_the_image_whatever_it_is(channels, classes):
    network = build_model(channels, classes, SMALL, seed=1)
    for height, width in ((16, 24), (40, 13), (5, 1)):
        assert network(random_images(2, channels, height, width)).shape == (2, classes, height, width)


def test_encoders_of_other_kinds_join_the_decoder_at_their_own_resolutions():
    """ConvNeXt has no features at 1/2, VGG has some at full size."""
    for name, reductions in {"convnext_atto": [4, 8], "vgg11_bn": [1, 2, 4, 8]}.items():
        network = EncoderUNet(3, 2, name, [2, 3, 4]).eval()
        assert network.encoder.feature_info.reduction() == reductions
        assert network(random_images(1, 3, 24, 40)).shape == (1, 2, 24, 40)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoder": "no_such_network"}, r"model\.encoder: timm .* has no network 'no_such_network'"),
        ({"encoder": "vit_tiny_patch16_224"}, r"model\.encoder: .* takes images of one size alone"),
        ({"widths": [2] * 6}, r"model\.widths: 6 widths need features of .* at 1/64 of the size; it has them at 1/2, "),
    ],
)
def test_an_encoder_that_gives_no_such_features_is_refused(changes, reason):
    with pytest.raises(InputError, match=reason):
        build_model(3, 2, {**SMALL, **changes}, seed=1)


def test_seeds_draw_the_decoder_and_leave_the_given_encoder(weights):
    model = {**SMALL, "weights": "imagenet"}
    first, same, other = (build_model(3, 3, model, seed, weights).state_dict() for seed in (1, 1, 2))
    assert equal(first, same)
    differing = {name.split(".")[0] for name in first if not torch.equal(first[name], other[name])}
    assert differing == {"upsamplers", "decoders", "head"}


def test_the_encoder_computes_what_timm_does_with_the_same_weights(weights):
    """On images that a stride of 4 divides, scaled as timm scales them."""
    network = build_model(3, 3, {**SMALL, "weights": "imagenet"}, 1, weights).eval()
    reference = timm.create_model(LITE0, features_only=True).eval()
    reference.load_state_dict(load_encoder(weights, LITE0), strict=False)  # without the classifier
    seen = []
    network.encoder.register_forward_hook(lambda module, given, maps: seen.extend(maps))
    images = random_images(1, 3, 32, 64)
    with torch.inference_mode():
        network(images)
        expected = reference((images - 0.5) / 0.5)[:2]
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(seen, expected, strict=True))


def test_weights_that_are_asked_for_must_be_given():
    with pytest.raises(InputError, match=r"model\.weights: imagenet: no file"):
        build_model(3, 3, {**SMALL, "weights": "imagenet"}, seed=1)


def test_weights_of_another_encoder_are_refused(weights):
    with pytest.raises(InputError, match="weights of tf_efficientnet_lite0, expected resnet18"):
        build_model(3, 3, {**SMALL, "encoder": "resnet18", "weights": "imagenet"}, 1, weights)


def test_a_model_is_the_same_after_a_round_trip_and_needs_no_first_weights(weights, tmp_path):
    model = {**SMALL, "weights": "imagenet"}
    network = build_model(1, 3, model, 1, weights).eval()
    save_model(tmp_path / "model", network)
    weights_moved = load_model(tmp_path / "model").eval()
    images = random_images(2, 1, 24, 24)
    assert torch.equal(network(images), weights_moved(images))
    require_architecture("model", weights_moved, 1, 3, {**model, "weights": "other.pth"})
    with pytest.raises(InputError, match="another architecture"):
        require_architecture("model", weights_moved, 1, 3, {**model, "widths": [2, 5]})


@pytest.mark.parametrize("is_frozen", [False, True])
def test_frozen_normalisation_keeps_its_means_and_trains_its_scales(is_frozen):
    network = build_model(3, 2, {**SMALL, "freeze_normalisation": is_frozen}, seed=1).train()
    norms = [module for module in network.encoder.modules() if isinstance(module, _BatchNorm)]
    before = [norm.running_mean.clone() for norm in norms]
    network(random_images(2, 3, 16, 16)).square().mean().backward()
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True)) == is_frozen
    assert all(norm.weight.grad.abs().sum() > 0 for norm in norms)


def test_a_measured_radius_is_that_of_the_formula_or_less_than_a_period_more():
    for widths in ([2, 3], [2, 2, 3], [2, 2, 2, 3]):
        network = UNet(1, 2, widths)
        network.architecture = {"name": "unet", "in_channels": 1}
        excess = measure_receptive_radius(network) - formula(len(widths) - 1)
        assert 0 <= excess < network.period


def test_tiles_give_the_logits_of_the_whole_image():
    network = build_model(3, 2, SMALL, seed=1).eval()
    assert network.receptive_radius < 60  # so the middle tile does not see all of the image
    images = (random_images(1, 90, 170, 3) * 255).to(torch.uint8).numpy()
    tiled = compute_logits_tiled(network, images[0], tile=24)
    with torch.inference_mode():
        whole = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    assert (tiled - whole).abs().max() < 1e-5 < whole.std()


def test_an_encoder_that_sees_the_whole_image_has_no_tiles():
    network = build_model(3, 2, {**SMALL, "encoder": "mobilenetv3_small_050"}, seed=1).eval()
    with pytest.raises(InputError, match=r"depend on the whole image.*prediction\.resize: true"):
        network.receptive_radius  # noqa: B018  (it measures)


def test_grad_cam_lies_on_the_pixels_of_an_image_that_was_continued():
    """Of an image of 40 x 24 in a network of 1/16, which sees 48 x 32: the map must end where the image does."""
    network = build_model(3, 2, {**SMALL, "widths": [2, 2, 2, 2]}, seed=1).eval().requires_grad_(False)
    images = random_images(1, 3, 40, 24)
    found = map_activation(network, images, [0, 1])
    assert found.shape == (1, 40, 24)
    coarse = torch.arange(6.0).reshape(1, 1, 3, 2)
    whole = torch.nn.functional.interpolate(coarse, size=(48, 32), mode="bilinear")
    assert torch.equal(network.enlarge(coarse, 40, 24), whole[..., :40, :24])


def test_onnxruntime_computes_what_the_network_does(tmp_path):
    network = build_model(3, 2, SMALL, seed=1).eval()
    save_model(tmp_path / "model", network)
    export_model(tmp_path / "model", tmp_path / "model.onnx", ["background", "pet"], image_size=16, colour="rgb")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert session.get_modelmeta().custom_metadata_map["stride"] == "4"
    for size in ((1, 3, 16, 16), (3, 3, 36, 52)):
        images = random_images(*size)
        (logits,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            expected = network(images).numpy()
        assert np.abs(logits - expected).max() < 1e-4 < expected.std()
