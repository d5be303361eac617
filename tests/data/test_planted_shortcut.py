import csv
from copy import deepcopy

import numpy as np
import pytest
import yaml
from PIL import Image
from snakemake.utils import update_config

from experiments import ROOT, training_arguments
from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.planted_shortcut import FURS, GROUNDS, draw_tints, tint
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.data.synthetic_pets import draw_synthetic_pets
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.evaluate import Evaluation, evaluate_model
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.masks.shrink import write_intact_mask
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training.train import train_model

SEEDS = (1, 2, 3)


def draw(folder, **options):
    draw_synthetic_pets(folder, images=24, side=32, test_share=50, seed=3, **options)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def is_tied(pair):
    """Whether a picture has blue on magenta or yellow on green, by the mean colours of its pet and its corners."""
    picture, trimap = (np.asarray(Image.open(path), dtype=float) for path in (pair.image, pair.labels))
    animal = picture[trimap == 1].mean(axis=0)
    ground = np.median(picture[trimap == 2], axis=0)
    return (animal[2] > animal[0]) == (ground[0] > ground[1])


def test_no_shortcut_leaves_the_pictures_as_they_are(tmp_path):
    natural = draw(tmp_path / "a")
    assert draw(tmp_path / "b", shortcut=None, shortcut_in_test=True) == natural
    coloured = draw(tmp_path / "c", shortcut=0)
    assert coloured.keys() == natural.keys()
    assert not any(coloured[name] == natural[name] for name in natural if name.endswith(".jpg"))
    assert all(coloured[name] == natural[name] for name in natural if not name.endswith(".jpg"))


def test_a_shortcut_changes_the_colour_of_backgrounds_alone(tmp_path):
    free, tied = draw(tmp_path / "a", shortcut=0), draw(tmp_path / "b", shortcut=100)
    changed = {name for name in free if free[name] != tied[name]}
    test = {pair.image.name for pair in list_pairs("synthetic", tmp_path / "a", None) if pair.official == "test"}
    assert changed
    assert not {name.removeprefix("images/") for name in changed} & test
    for name in changed:
        first, second = (np.asarray(Image.open(tmp_path / folder / name), dtype=float) for folder in "ab")
        trimap = Image.open(tmp_path / "a/annotations/trimaps" / name.removeprefix("images/").replace("jpg", "png"))
        is_pet = np.asarray(trimap) == 1
        assert np.abs(first - second)[is_pet].mean() < 0.3 * np.abs(first - second)[~is_pet].mean()


@pytest.mark.parametrize(("share", "in_test", "tied"), [(100, False, "trainval"), (100, True, "both")])
def test_the_shortcut_is_where_it_is_asked_for(tmp_path, share, in_test, tied):
    draw_synthetic_pets(tmp_path / "p", 48, 48, 50, seed=1, shortcut=share, shortcut_in_test=in_test)
    found = {"trainval": [], "test": []}
    for pair in list_pairs("synthetic", tmp_path / "p", None):
        found[pair.official].append(bool(is_tied(pair)))
    assert np.mean(found["trainval"]) > 0.9
    assert (np.mean(found["test"]) > 0.9) == (tied == "both")


def test_tied_tints_agree_and_drawn_ones_do_by_chance():
    rng = np.random.default_rng(0)
    for tied, expected in ((True, 1.0), (False, 0.5)):
        tints = [draw_tints(rng, tied) for _ in range(1000)]
        agree = [np.array_equal(t.animal, FURS[0]) == np.array_equal(t.ground, GROUNDS[0]) for t in tints]
        assert np.mean(agree) == pytest.approx(expected, abs=0.05)
        assert np.mean([np.array_equal(t.animal, FURS[0]) for t in tints]) == pytest.approx(0.5, abs=0.05)
        assert not any(np.array_equal(t.animal, t.blobs) for t in tints)


def test_a_tint_is_a_shade_of_its_colour():
    grey = Image.new("RGB", (2, 2), (100, 50, 150))  # mean 100: 40 + .8 * 100 = 120
    assert np.asarray(tint(grey, np.array([1.0, 0.5, 0.1])))[0, 0].tolist() == [120, 60, 12]
    assert tint(grey, None) is grey


class Instrument:
    """What config/planted.yaml trains and measures, by library calls; `shortcut` and `in_test` are laid over it."""

    def __init__(self, config, folder):
        self.config, self.folder = deepcopy(config), folder
        update_config(self.config, yaml.safe_load((ROOT / "config/planted.yaml").read_text()))

    def prepare(self, name, **changes):
        section = self.config["dataset"]
        raw, path = self.folder / f"{name}_raw", self.folder / f"{name}.h5"
        draw_synthetic_pets(raw, test_share=section["split"]["test_share"], **(section["synthetic"] | changes))
        prepare_dataset(raw, path, section, threads=1)
        write_intact_mask(path, path.with_suffix(".mask"))
        return path

    def train(self, data, seed):
        output = data.with_name(f"{data.stem}_{seed}.safetensors")
        training = self.config["training"] | {"device": "cpu"}
        model = {key: self.config["model"][key] for key in ("name", "widths")}  # the keys of a U-Net
        changes = {"mask": data.with_suffix(".mask"), "model": model, "start": "scratch", "seed": seed}
        train_model(**training_arguments(data, self.folder, output.stem, training, **changes))
        return output

    def measure(self, data, model):
        """Return the binary IoU on test images in per cent, by protocol."""
        section, metrics = self.config["evaluation"], self.folder / "metrics.csv"
        evaluate_model(
            data,
            [model],
            metrics=metrics,
            counts=self.folder / "counts.h5",
            evaluation=Evaluation(["test"], section["protocols"], {}, section["foreground"]),
            step=ReductionStep.from_settings(self.config["reduction"], "100"),
            chain=Chain("single_pass", "100", 1),
            machine=Machine("cpu", 1),
        )
        with open(metrics, newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["measure"] == "binary_iou"]
        return {row["protocol"]: 100 * float(row["value"]) for row in rows}


@pytest.mark.slow
def test_background_swapped_finds_the_models_that_learnt_the_shortcut(config, tmp_path):
    # Measured, seeds 1 to 6, drop of binary IoU from intact to background_swapped in points, mean and standard
    # deviation: 28.0 +- 6.6 with the shortcut, 16.8 +- 3.2 without; the intact score falls from 90 to 69 % where the
    # test colours are random.
    instrument = Instrument(config, tmp_path)
    tied = instrument.prepare("tied")
    free = instrument.prepare("free", shortcut=0)
    shuffled = instrument.prepare("shuffled", shortcut_in_test=False)
    drops, falls = {tied: [], free: []}, []
    for data, seed in [(data, seed) for data in drops for seed in SEEDS]:
        model = instrument.train(data, seed)
        scores = instrument.measure(data, model)
        drops[data].append(scores["intact"] - scores["background_swapped"])
        if data is tied:
            falls.append(scores["intact"] - instrument.measure(shuffled, model)["intact"])
    assert min(drops[tied]) > np.mean(drops[free])
    assert np.mean(drops[tied]) > np.mean(drops[free]) + 3
    assert np.mean(falls) > 5  # they did learn it
