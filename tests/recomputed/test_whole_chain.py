"""A whole experiment recomputed by a second implementation: from dataset.h5 and the weights to every number.

Three seeds, three iterations, pictures that differ, pixels without label, a rare class; one arm has a network of its
own, with dropout and augmentation.
"""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import second_implementation as second
from experiments import run_snakemake

pytestmark = pytest.mark.pipeline

CLASSES, INTEREST, FRONT = ["ground", "disc", "rim"], [1, 2], ["disc", "rim"]
GROUPS = {"without_rim": ["ground", "disc"]}
SEEDS, THRESHOLD, ITERATIONS, PIXELS = (1, 2, 3), "70", 3, 256
EPOCHS = 20  # enough to predict all three classes
FAMILIES = ["noise", "blur", "brightness", "contrast", "jpeg", "occlusion"]
EXPERIMENT = {
    "seeds": list(SEEDS),
    "dataset": {
        "source": "folder",
        "image_size": 16,
        "classes": [{"name": "ground", "labels": [0]}, {"name": "disc", "labels": [1]}, {"name": "rim", "labels": [2]}],
        "ignored_labels": [9],
        "split": {"method": "random", "validation_share": 25, "test_share": 40},
    },
    "model": {"widths": [4, 8]},
    "training": {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.01, "schedule": {"monitor": "validation"}},
    "reduction": {"thresholds": [70], "iterations": 3, "classes_of_interest": ["disc", "rim"]},
    "arms": {
        "equal_compute": None,
        "random": None,
        "oracle": None,
        "own": {"model": {"widths": [6, 8], "dropout": 0.3}, "training": {"augmentation": ["flip"]}},
    },
    "evaluation": {
        "protocols": ["intact", "self_masked", "label_masked", *FAMILIES, "background_swapped", "background_blurred"],
        "class_groups": {"pet_and_background": None, **GROUPS},
        "foreground": FRONT,
        "comparators": ["restarts", "single_pass"],
        "resamples": 100,
    },
    "report": {"images": 2},
}
REDUCING = {"saliency": {"widths": [4, 8]}, "own": {"widths": [6, 8], "dropout": 0.3}}


def draw_pictures(folder, count=40):
    """Draw discs with a rim on noise; every third picture has no rim, every second a corner without label."""
    rng = np.random.default_rng(7)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:16, :16]
    for index in range(count):
        centre, radius = rng.uniform(4, 12, 2), rng.uniform(2.5, 5)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        labels = (distance < radius).astype(np.uint8)
        if index % 3:
            labels[(distance >= radius - 1) & (distance < radius)] = 2
        picture = rng.integers(0, 120, (16, 16, 3)) + (labels > 0)[..., None] * rng.integers(40, 130, 3)
        if index % 2:
            labels[:3, : 2 + index % 5] = 9
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"images/{index:02}.png")
        Image.fromarray(labels).save(folder / f"masks/{index:02}.png")


class Run:
    """The files of the finished experiment."""

    def __init__(self, folder):
        self.results = folder / "results/demo"
        with h5py.File(self.results / "dataset.h5") as file:
            splits = {name: file[f"split/{name}"][:] for name in ("train", "validation", "test")}
            self.data = {name: (file["images"][:][at], file["labels"][:][at]) for name, at in splits.items()}

    def folder(self, arm, seed, iteration):
        if iteration == 1:
            return self.results / f"{'own' if arm == 'own' else 'single_pass'}/top_100/seed_{seed}/iteration_1"
        return self.results / f"{arm}/top_{THRESHOLD}/seed_{seed}/iteration_{iteration}"

    def network(self, arm, seed, iteration):
        network = second.PlainUNet(3, 3, **REDUCING.get(arm, REDUCING["saliency"]))
        network.load_state_dict(load_file(self.folder(arm, seed, iteration) / "model.safetensors"))
        return network

    def mask(self, arm, seed, iteration):
        if iteration == 1:
            return np.ones((len(self.data["train"][0]), 16, 16), bool)
        with h5py.File(self.folder(arm, seed, iteration) / "mask.h5") as file:
            bits = np.unpackbits(file["kept"][:], axis=1, count=PIXELS)
        return bits.reshape(-1, 16, 16).astype(bool)

    def table(self, name):
        return pd.read_csv(self.results / name, dtype={"threshold": str})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recomputed")
    draw_pictures(folder / "raw")
    experiment = {**EXPERIMENT, "dataset": {**EXPERIMENT["dataset"], "root": str(folder / "raw")}}
    done = run_snakemake(folder, overrides=experiment)
    assert done.returncode == 0, done.stderr
    return Run(folder)


every_chain = pytest.mark.parametrize(("arm", "seed"), [(arm, seed) for arm in REDUCING for seed in SEEDS])


@every_chain
def test_every_mask_keeps_the_most_salient_of_the_pixels_kept_so_far(run, arm, seed):
    images, labels = run.data["train"]
    kept = run.mask(arm, seed, 1)
    table = run.table("kept_pixels.csv")
    table = table[(table["arm"] == arm) & (table["seed"] == seed)].set_index(["iteration", "measure", "class"])["value"]
    for iteration in range(2, ITERATIONS + 1):
        scores = second.log_odds(
            second.logits_of(run.network(arm, seed, iteration - 1), second.blacken(images, kept)), INTEREST
        )
        count = second.kept_number(PIXELS, THRESHOLD, iteration - 1)
        expected, found = second.shrink(scores, kept, count), run.mask(arm, seed, iteration)
        assert (found.sum(axis=(1, 2)) == count).all()
        # Scores that differ by rounding alone may change places at the cut.
        border = np.array([np.sort(each[before])[-count] for each, before in zip(scores, kept, strict=True)])
        assert np.abs(scores - border[:, None, None])[expected != found].max(initial=0) < 1e-4
        assert (expected != found).mean() < 0.002
        for place, value in second.mask_table(found, kept, labels, CLASSES).items():
            assert table[(iteration, *place)] == pytest.approx(value, rel=1e-9), (iteration, place)
        kept = found


def shown(run, arm, seed, threshold):
    """Yield (protocol, images, labels) of all that the last model of a chain is shown."""
    images, labels = run.data["test"]
    front = [CLASSES.index(name) for name in FRONT]
    yield "intact", images, labels
    count = PIXELS if threshold == "100" else second.kept_number(PIXELS, threshold, ITERATIONS - 1)
    whole = np.ones(labels.shape, bool)
    if arm in REDUCING:
        scores = second.log_odds(second.logits_of(run.network(arm, seed, ITERATIONS - 1), images), INTEREST)
        yield "self_masked", second.blacken(images, second.shrink(scores, whole, count)), labels
    truth = np.stack([second.signed_distance(np.isin(each, INTEREST)) for each in labels])
    yield "label_masked", second.blacken(images, second.shrink(truth, whole, count)), labels
    for protocol, changed in second.corrupted(images):
        yield protocol, changed, labels
    yield "background_swapped", *second.on_other_backgrounds(images, labels, front, len(CLASSES))
    yield "background_blurred", second.on_blurred_backgrounds(images, labels, front), labels


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("arm", "threshold"), [("single_pass", "100"), ("saliency", THRESHOLD), ("own", THRESHOLD)])
def test_every_row_of_the_measures_of_a_chain(run, arm, threshold, seed):
    last = 1 if threshold == "100" else ITERATIONS
    table = run.table("metrics.csv")
    table = table[(table["arm"] == arm) & (table["seed"] == seed)]
    expected = {}
    for iteration in range(1, last + 1):
        network = run.network(arm, seed, iteration)
        for split in ("validation", "test"):
            images, labels = run.data[split]
            predictions = second.logits_of(network, images).argmax(axis=1)
            rows = second.score_table(labels, predictions, CLASSES, GROUPS, FRONT)
            expected |= {(iteration, split, "intact", *place): value for place, value in rows.items()}
    images, labels = run.data["test"]
    logits = second.logits_of(network, images)
    detailed = second.boundary_table(labels, logits.argmax(axis=1), CLASSES, GROUPS)
    detailed |= second.calibration_table(labels, logits)
    expected |= {(last, "test", "intact", *place): value for place, value in detailed.items()}
    for protocol, pictures, truths in shown(run, arm, seed, threshold):
        predictions = second.logits_of(network, pictures).argmax(axis=1)
        rows = second.score_table(truths, predictions, CLASSES, GROUPS, FRONT)
        expected |= {(last, "test", protocol, *place): value for place, value in rows.items()}
    keys = ["iteration", "split", "protocol", "measure", "class"]
    found = table.set_index(keys)["value"].to_dict()
    assert set(found) - set(expected) == set()
    assert set(expected) - set(found) == set()
    wrong = {
        key: (found[key], value)
        for key, value in expected.items()
        if found[key] != pytest.approx(value, abs=2e-6, nan_ok=True)
    }
    # A pixel whose two best logits are equal to rounding may change its class: a few images' shares of one pixel.
    assert all(abs(a - b) < 0.02 for a, b in wrong.values()), wrong
    assert len(wrong) < 0.02 * len(expected), wrong


@pytest.mark.parametrize("arm", REDUCING)
@pytest.mark.parametrize("iteration", [1, 3])
def test_a_training_step_by_step(run, arm, iteration):
    seed = 2
    images, labels = run.data["train"]
    torch.manual_seed(seed)
    network = second.PlainUNet(3, 3, **REDUCING[arm]) if iteration == 1 else run.network(arm, seed, iteration - 1)
    settings = {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.01, "classes": 3, "flip": arm == "own"}
    seen = second.blacken(images, run.mask(arm, seed, iteration))
    rows = second.train(
        network, seen, labels, run.data["validation"], settings, seed, epochs_before=EPOCHS * (iteration - 1)
    )
    weights = load_file(run.folder(arm, seed, iteration) / "model.safetensors")
    for name, value in network.state_dict().items():
        assert torch.allclose(weights[name], value, atol=1e-5), name
    table = run.table("history.csv")
    table = table[(table["arm"] == arm) & (table["seed"] == seed) & (table["iteration"] == iteration)]
    columns = ["train_loss", "validation_loss", "validation_mean_iou"]
    assert table[columns].to_numpy() == pytest.approx(np.array(rows), abs=1e-5)
