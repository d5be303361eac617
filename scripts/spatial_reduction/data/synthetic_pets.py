"""Draw pets: a data set in the Oxford-IIIT Pet layout that needs no download.

Each picture shows one animal (body, head, ears, legs, tail; a furry texture) on a cluttered background with
blobs of the same furs, so that neither colour nor texture alone gives the animal away. Cats have pointed ears,
dogs hanging ones. The trimap has the release's values: 1 pet, 2 background, 3 the band around the outline. The
background's colour can be made to tell animals from blobs, see `shortcut`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from spatial_reduction.data.planted_shortcut import Tints, draw_tints, tint
from spatial_reduction.runtime.files import folder_written_whole
from spatial_reduction.runtime.log import progress

PET, BACKGROUND, BORDER = 1, 2, 3
SPECIES = ("cat", "dog")
FURS = ("plain", "striped", "spotted")
ADDED_BLOBS = 4  # in tinted pictures: enough that telling them from the animal by colour pays
OVERSAMPLING = 2  # shapes are drawn at twice the side and scaled down: smooth outlines


def draw_synthetic_pets(
    output: str | Path,
    images: int,
    side: int,
    test_share: float,
    seed: int,
    spread: float = 10,
    shortcut: float | None = None,
    shortcut_in_test: bool = False,
) -> None:
    """Write `images` pictures of `side` x `side` pixels with their trimaps and lists below `output`.

    Args:
        output: folder to create; appears whole or not at all.
        test_share: per cent of the pictures of each breed that the official test list holds.
        seed: picture i depends on (seed, i) alone, but for the colour of its background where a shortcut is planted.
        spread: how far the middle of the body may lie from that of the picture, across and down, per cent of the side;
            the less it is, the more a predictor that sees no image knows.
        shortcut: per cent of the trainval pictures of each breed whose background is tied to the animal, see
            `shortcut.draw_tints`; in all others its colour is drawn. None leaves all pictures in natural colours.
        shortcut_in_test: the test pictures hold the shortcut in the same share; otherwise in none.
    """
    with folder_written_whole(output) as partial:
        _draw_all(partial, images, side, test_share, seed, spread, shortcut, shortcut_in_test)


def _draw_all(
    folder: Path,
    images: int,
    side: int,
    test_share: float,
    seed: int,
    spread: float,
    shortcut: float | None,
    shortcut_in_test: bool,
) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for index in progress(range(images), images, "drawing pets", "images"):
        breed, number = index % 6, index // 6
        species, fur = SPECIES[breed % 2], FURS[breed // 2]
        # As in the release, a capital letter begins the name of a cat's breed.
        name = f"{fur.capitalize() if species == 'cat' else fur}_{species}_{number + 1}"
        part = "test" if _is_chosen(number, test_share) else "trainval"
        tints = None
        if shortcut is not None:
            share = shortcut if part == "trainval" or shortcut_in_test else 0
            # All breeds of one number go to the same list: its length counts the pictures of each breed.
            is_tied = _is_chosen(len(lists[part]) // 6, share)
            tints = draw_tints(np.random.default_rng((seed, index, 1)), is_tied)
        picture, trimap = draw_pet(np.random.default_rng((seed, index)), side, species, fur, spread, tints)
        picture.save(folder / "images" / f"{name}.jpg", quality=92)
        trimap.save(folder / "annotations" / "trimaps" / f"{name}.png")
        lists[part].append(f"{name} {breed + 1} {breed % 2 + 1} {breed // 2 + 1}")
    for part, lines in lists.items():
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(sorted(lines)) + "\n")


def _is_chosen(number: int, share: float) -> bool:
    """Choose `share` per cent of the numbers 0, 1, 2, ..., evenly spaced."""
    return int((number + 1) * share / 100) > int(number * share / 100)


def draw_pet(
    rng: np.random.Generator, side: int, species: str, fur: str, spread: float, tints: Tints | None = None
) -> tuple[Image.Image, Image.Image]:
    """Return an RGB picture and its trimap (mode L), both `side` x `side`, in natural colours or in `tints`."""
    animal, blobs, ground = tints or (None, None, None)
    canvas = side * OVERSAMPLING
    outline = (
        _outline(rng, canvas, species, spread)
        .resize((side, side), Image.Resampling.LANCZOS)
        .point(lambda v: 255 * (v > 127))
    )
    picture = tint(_background(rng, side), ground)
    for _ in range(
        rng.integers(1, 4) + (ADDED_BLOBS if tints else 0)
    ):  # distractors: blobs of fur with neither head nor ears
        blob = _blob(rng, side)
        picture.paste(tint(_fur(rng, side, FURS[rng.integers(len(FURS))]), blobs), mask=blob)
    soft = outline.filter(ImageFilter.GaussianBlur(side / 160))
    picture.paste(tint(_fur(rng, side, fur), animal), mask=soft)
    picture = _lit(rng, picture)
    band = 2 * max(1, side // 64) + 1
    grown, shrunk = outline.filter(ImageFilter.MaxFilter(band)), outline.filter(ImageFilter.MinFilter(band))
    trimap = np.full((side, side), BACKGROUND, dtype=np.uint8)
    trimap[np.asarray(grown) > 0] = BORDER
    trimap[np.asarray(shrunk) > 0] = PET
    return picture, Image.fromarray(trimap)


def _outline(rng: np.random.Generator, canvas: int, species: str, spread: float) -> Image.Image:
    """Draw the animal's silhouette in white on black: a random pose, size, place and tilt."""
    mask = Image.new("L", (canvas, canvas), 0)
    draw = ImageDraw.Draw(mask)
    unit = canvas * rng.uniform(0.2, 0.3)  # half the length of the body
    x, y = canvas * rng.uniform(0.5 - spread / 100, 0.5 + spread / 100, size=2)
    length, height = unit, unit * rng.uniform(0.5, 0.7)
    draw.ellipse((x - length, y - height, x + length, y + height), fill=255)
    for at in (-0.7, -0.35, 0.35, 0.7):  # legs
        width, foot = unit * 0.13, y + height + unit * rng.uniform(0.25, 0.55)
        draw.rounded_rectangle((x + at * length - width, y, x + at * length + width, foot), radius=width, fill=255)
    head = unit * rng.uniform(0.45, 0.6)
    hx, hy = x + length * rng.uniform(0.85, 1.05), y - height * rng.uniform(0.6, 1.1)
    draw.ellipse((hx - head, hy - head, hx + head, hy + head), fill=255)
    for way in (-1, 1):
        _ear(draw, hx + way * head * 0.62, hy, head, way, species)
    tip = (x - length * rng.uniform(1.3, 1.7), y - height * rng.uniform(0.2, 1.6))
    bend = (x - length * 1.35, y + height * rng.uniform(-0.2, 0.3))
    draw.line([(x - length * 0.8, y), bend, tip], fill=255, width=int(unit * rng.uniform(0.12, 0.24)), joint="curve")
    if rng.random() < 0.5:
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return mask.rotate(rng.uniform(-25, 25), resample=Image.Resampling.BILINEAR)


def _ear(draw: ImageDraw.ImageDraw, x: float, y: float, head: float, way: int, species: str) -> None:
    if species == "cat":  # pointed, above the head
        draw.polygon(
            [
                (x - head * 0.4, y - head * 0.5),
                (x + head * 0.4, y - head * 0.5),
                (x + way * head * 0.15, y - head * 1.5),
            ],
            fill=255,
        )
    else:  # hanging, beside it
        draw.ellipse(
            (x + way * head * 0.45 - head * 0.3, y - head * 0.6, x + way * head * 0.45 + head * 0.3, y + head * 0.9),
            fill=255,
        )


def _fur(rng: np.random.Generator, side: int, fur: str) -> Image.Image:
    """Return a square of fur: a base colour, the fur's pattern, fine hair."""
    base = np.array([rng.uniform(70, 230), rng.uniform(50, 190), rng.uniform(30, 160)])
    other = np.clip(base * rng.uniform(0.3, 0.6), 0, 255)
    if fur == "striped":
        angle, period = rng.uniform(0, np.pi), side * rng.uniform(0.06, 0.12)
        rows, columns = np.mgrid[:side, :side]
        wave = np.sin(2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / period + 2 * _smooth(rng, side, 5))
        share = (wave > 0.2).astype(float)
    elif fur == "spotted":
        share = (_smooth(rng, side, side // 8) > 0.5).astype(float)
    else:
        share = np.clip(_smooth(rng, side, 4) * 0.4 + 0.3, 0, 1)
    pixels = base + share[..., None] * (other - base) + rng.normal(0, 9, (side, side, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _background(rng: np.random.Generator, side: int) -> Image.Image:
    """Return a background: two blended colours, coarse and fine texture, and clutter."""
    first, second = rng.uniform(20, 235, (2, 3))
    share = np.clip(_smooth(rng, side, 4) * 0.5 + 0.5, 0, 1)[..., None]
    pixels = (
        first
        + share * (second - first)
        + 22 * _smooth(rng, side, side // 5)[..., None]
        + rng.normal(0, 7, (side, side, 3))
    )
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    shapes: tuple[Callable[..., None], ...] = (draw.rectangle, draw.ellipse, draw.line)
    for _ in range(rng.integers(3, 9)):
        a, b = np.sort(rng.uniform(0, side, (2, 2)), axis=0)
        colour = tuple(int(value) for value in rng.uniform(20, 235, 3))
        shapes[rng.integers(3)]([*a, *(a + (b - a) * 0.6)], fill=colour, width=max(1, side // 40))
    return picture


def _blob(rng: np.random.Generator, side: int) -> Image.Image:
    """Return the mask (mode L) of a round or square patch."""
    mask = Image.new("L", (side, side), 0)
    x, y = rng.uniform(0, side, 2)
    width, height = side * rng.uniform(0.05, 0.16, size=2)
    shape = ImageDraw.Draw(mask).ellipse if rng.random() < 0.5 else ImageDraw.Draw(mask).rectangle
    shape((x - width, y - height, x + width, y + height), fill=255)
    return mask


def _lit(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Return the picture under a random slanting light."""
    side = picture.width
    slope = rng.uniform(-0.35, 0.35, 2)
    rows, columns = np.mgrid[-0.5 : 0.5 : side * 1j, -0.5 : 0.5 : side * 1j]
    gain = rng.uniform(0.75, 1.15) + slope[0] * rows + slope[1] * columns
    return Image.fromarray(np.clip(np.asarray(picture) * gain[..., None], 0, 255).astype(np.uint8))


def _smooth(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Return smooth noise (side, side) with zero mean and unit scale, `cells` bumps across."""
    grid = Image.fromarray(rng.standard_normal((cells + 1, cells + 1)).astype(np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
