import colorsys

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from torchvision.transforms.v2 import functional

import second_implementation as second
from spatial_reduction.evaluation import corruptions
from spatial_reduction.evaluation.corruptions import CORRUPTED, CORRUPTIONS, SEVERITIES, find_strength

# Quantisation of brightness at quality 50: ITU-T T.81, table K.1.
LUMINANCE = """
16 11 10 16  24  40  51  61
12 12 14 19  26  58  60  55
14 13 16 24  40  57  69  56
14 17 22 29  51  87  80  62
18 22 37 56  68 109 103  77
24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101
72 92 95 98 112 100 103  99
"""


@pytest.fixture(scope="module")
def image(dataset):
    """A drawn pet four times, uint8 (32, 32, 3)."""
    return np.tile(dataset.pick("test", [3])[0][0], (2, 2, 1))


def corrupt(image, family, severity, position):
    """Corrupt one image."""
    return corruptions.corrupt(image[None], family, severity, [position])[0]


def strength(family, severity, side=32):
    return find_strength(family, severity, side)


def by_torchvision(change, image):
    return change(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy().astype(int)


@pytest.mark.parametrize(
    ("side", "noise", "blur", "quality"),
    [
        (16, 0.08, 0.4, 58),  # blur would be 0.35, which changes nothing
        (32, 0.08, 0.7, 58),
        (40, 0.08, 0.7 * 40 / 32, 58),
        (63, 0.08, 0.7 * 63 / 32, 58),
        (64, 0.12, 1, 50),
        (128, 0.12, 2, 50),
        (223, 0.12, 223 / 64, 50),
        (224, 0.18, 3, 15),
        (512, 0.18, 3 * 512 / 224, 15),
    ],
)
def test_corruptions_are_as_strong_as_their_authors_make_them_for_that_size(side, noise, blur, quality):
    found = [find_strength(family, 2, side) for family in ("noise", "blur", "jpeg")]
    assert found == pytest.approx([noise, blur, quality])


# Severities 1, 3 and 5 of the authors' programs: make_imagenet_c.py, make_tinyimagenet_c.py, make_cifar_c.py.
PUBLISHED = {
    224: {"noise": (0.08, 0.18, 0.38), "blur": (1, 3, 6), "jpeg": (25, 15, 7), "contrast": (0.4, 0.2, 0.05)},
    64: {"noise": (0.04, 0.12, 0.18), "blur": (0.5, 1, 1.5), "jpeg": (65, 50, 25), "contrast": (0.4, 0.2, 0.05)},
    32: {"noise": (0.04, 0.08, 0.1), "blur": (0.4, 0.7, 1), "jpeg": (80, 58, 40), "contrast": (0.75, 0.4, 0.15)},
}
PUBLISHED[224]["brightness"] = PUBLISHED[64]["brightness"] = (0.1, 0.3, 0.5)
PUBLISHED[32]["brightness"] = (0.05, 0.15, 0.3)


@pytest.mark.parametrize("side", PUBLISHED)
def test_every_strength_is_the_published_one(side):
    found = {family: tuple(find_strength(family, level, side) for level in (1, 2, 3)) for family in PUBLISHED[side]}
    assert found == PUBLISHED[side]
    assert [find_strength("occlusion", level, side) for level in (1, 2, 3)] == [0.25, 0.375, 0.5]
    assert {*PUBLISHED[side], "occlusion"} == set(CORRUPTIONS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("family", CORRUPTIONS)
def test_the_same_image_gives_the_same_bytes_and_every_severity_is_stronger(image, family, channels):
    image = image[..., :channels]
    changed = [corrupt(image, family, severity, position=7) for severity in SEVERITIES]
    assert all(each.dtype == np.uint8 and each.shape == image.shape for each in changed)
    assert np.array_equal(changed[1], corrupt(image, family, 2, position=7))
    distances = [np.abs(each.astype(float) - image).mean() for each in changed]
    assert 0 < distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("family", CORRUPTIONS)
def test_images_are_corrupted_as_if_each_were_alone(dataset, family):
    images, positions = dataset.pick("test", [2, 3, 7])[0], [2, 3, 7]
    together = corruptions.corrupt(images, family, 2, positions)
    for image, position, corrupted in zip(images, positions, together, strict=True):
        assert np.array_equal(corrupt(image, family, 2, position), corrupted)


def test_every_corruption_is_to_the_byte_that_of_the_second_implementation():
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), dtype=np.uint8)
    images[:, :3], images[:, 3:6], images[:, -3:] = 0, [1, 0, 0], 255  # the ends of the range, and a dark red
    for protocol, expected in second.corrupted(images):
        found = corruptions.corrupt(images, *CORRUPTED[protocol], range(5))
        assert np.array_equal(found, expected), protocol


@pytest.mark.parametrize("shape", [(40, 224, 1), (224, 40, 1)])
def test_the_shorter_side_tells_how_strong_a_corruption_is(shape):
    grey = np.full(shape, 128, dtype=np.uint8)
    expected = corruptions.add_noise(grey[None], strength("noise", 3, 40), [7])[0]
    assert np.array_equal(corrupt(grey, "noise", 3, 7), np.rint(expected.clip(0, 255)))


def test_images_differ_in_their_noise_and_their_squares(image):
    for family in ("noise", "occlusion"):
        assert len({corrupt(image, family, 1, position).tobytes() for position in range(5)}) > 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_stated_deviation(severity):
    grey = np.full((200, 200, 1), 128, dtype=np.uint8)
    noise = corrupt(grey, "noise", severity, position=0).astype(float) - 128
    inside = np.clip(np.random.default_rng(1).normal(0, 255 * strength("noise", severity, 200), 10**6), -128, 127)
    assert noise.std() == pytest.approx(inside.std(), rel=0.02)
    assert abs(noise.mean() - inside.mean()) < 1.5


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_agrees_with_torchvision(image, severity):
    sigma = (0.4, 0.7, 1)[severity - 1]
    size = 2 * int(4 * sigma + 0.5) + 1  # SciPy cuts the Gaussian off at four standard deviations
    expected = by_torchvision(lambda tensor: functional.gaussian_blur(tensor, [size, size], [sigma, sigma]), image)
    assert np.abs(corrupt(image, "blur", severity, 0) - expected).max() <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_rounds_the_cosine_transform_of_each_block(image, severity):
    grey = image[..., :1]
    compressed = corrupt(grey, "jpeg", severity, 0).astype(float)
    table = np.array([line.split() for line in LUMINANCE.split("\n")[1:-1]], dtype=int)
    quality = strength("jpeg", severity)
    scale = 200 - 2 * quality if quality >= 50 else 5000 // quality  # libjpeg's
    steps = (table * scale + 50) // 100
    for top, left in np.ndindex(4, 4):
        block = np.s_[8 * top : 8 * top + 8, 8 * left : 8 * left + 8, 0]
        coefficients = dctn(grey[block] - 128.0, norm="ortho")
        expected = 128 + idctn(np.rint(coefficients / steps) * steps, norm="ortho")
        assert np.abs(compressed[block] - np.clip(expected, 0, 255)).max() < 2


def test_contrast_of_a_grey_image_agrees_with_torchvision(image):
    grey = np.repeat(image[..., :1], 3, axis=2)
    expected = by_torchvision(lambda tensor: functional.adjust_contrast(tensor, strength("contrast", 2)), grey)
    assert np.abs(corrupt(grey, "contrast", 2, 0) - expected).max() <= 2  # torchvision cuts fractions off, twice


def test_brightness_raises_the_value_of_hsv_colour(image):
    pixels = np.concatenate([image.reshape(-1, 3), [[0, 0, 0], [255, 128, 0]]]).astype(np.uint8)[None]
    for before, after in zip(pixels[0], corrupt(pixels, "brightness", 2, 0)[0], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, min(value + strength("brightness", 2), 1)))
        assert np.abs(after - expected).max() <= 0.51


def test_occlusion_covers_one_square_of_the_stated_side():
    occluded = corrupt(np.zeros((16, 16, 3), dtype=np.uint8), "occlusion", 2, position=4)
    rows, columns = np.nonzero(occluded[..., 0])
    assert len(rows) == 6 * 6  # 37.5 % of 16
    assert np.ptp(rows) == np.ptp(columns) == 5
    assert set(occluded[occluded > 0].tolist()) == {128}
