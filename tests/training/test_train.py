import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from segmentation_models_pytorch.losses import DiceLoss

from experiments import TRAINING, equal, training_arguments
from spatial_reduction.masks.apply_mask import fill_removed
from spatial_reduction.masks.mask_file import write_mask
from spatial_reduction.metrics.overlap import iou, labelled_classes, mean_over_classes, pixel_accuracy
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import open_hdf5
from spatial_reduction.training import train as training
from spatial_reduction.training.augmentation import build_augmentation
from spatial_reduction.training.batches import Images
from spatial_reduction.training.epoch import Trainer, dice_loss
from spatial_reduction.training.image_store import InMemory
from spatial_reduction.training.train import build_trainer

NETWORKS = {
    "unet": {"model": {"name": "unet", "widths": [2, 4]}},
    "sliding_window": {
        "model": {"name": "sliding_window", "widths": [3, 4, 5], "window": 13},
        "training": {"windows": 16},
    },
    "encoder_unet": {
        "model": {"name": "encoder_unet", "encoder": "test_efficientnet", "widths": [2, 4], "weights": None},
        "training": {
            "optimizer": "adamw",
            "schedule": {"kind": "one_cycle", "warm_up": 30},
            "loss": "cross_entropy_and_dice",
        },
    },
}
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def test_dice_of_two_classes_by_hand():
    """Class 0: 2 x .9 / (1.1 + 1); 1: 2 x .8 / (.9 + 1); 2 is in no label; the last pixel counts nowhere."""
    logits = torch.tensor([[[[0.9, 0.2, 0.5]], [[0.1, 0.8, 0.5]], [[1e-30, 1e-30, 1e-30]]]]).log()
    labels = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    assert dice_loss(logits, labels).item() == pytest.approx(1 - (1.8 / 2.1 + 1.6 / 1.9) / 2, rel=1e-6)
    assert dice_loss(logits, torch.full_like(labels, 255)).item() == 0
    labels[0, 0, 1] = 0  # class 0 alone: 2 x 1.1 / (1.1 + 2)
    assert dice_loss(logits, labels).item() == pytest.approx(1 - 2.2 / 3.1, rel=1e-6)


def test_dice_is_that_of_another_implementation_where_all_classes_are_there():
    logits = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 4, (2, 5, 7), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    labels[labels == 3] = 255
    reference = DiceLoss("multiclass", ignore_index=255, smooth=0)
    assert dice_loss(logits, labels).item() == pytest.approx(reference(logits, labels.long()).item(), rel=1e-5)


def test_the_training_loss_has_the_dice_loss_added_and_the_validation_loss_has_not(train):
    still = {"learning_rate": 1e-12, "epochs": 1}
    _, plain = train("plain", training=still)
    _, added = train("added", training=still | {"loss": "cross_entropy_and_dice"})
    assert 0.3 < added["train_loss"][0] - plain["train_loss"][0] < 1
    assert added["validation_loss"][0] == pytest.approx(plain["validation_loss"][0], rel=1e-6)


@every_network
def test_training_twice_gives_the_same_bits_and_another_seed_does_not(train, network):
    first, _ = train("first", **network)
    again, _ = train("again", **network)
    other, _ = train("other", seed=2, **network)
    assert equal(first, again)
    assert not equal(first, other)


@every_network
def test_history_counts_epochs_steps_and_images(train, network):
    begun = time.perf_counter()
    _, history = train(**network)
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["cumulative_steps"].tolist() == [3, 6, 9]  # 10 images in batches of 4
    assert history["cumulative_images"].tolist() == [10, 20, 30]
    assert history["cumulative_seconds"].is_monotonic_increasing
    assert 0 < history["cumulative_seconds"][0] < history["cumulative_seconds"][2] < time.perf_counter() - begun


@every_network
def test_the_counts_of_the_validation_images_give_the_history(train, dataset, tmp_path, network):
    _, history = train("counted", **network)
    with open_hdf5(tmp_path / "counted.h5", "validation_counts") as file:
        counts = file["confusion"][:]
        assert file["confusion"].fletcher32
        assert file["confusion"].chunks == (1, *counts.shape[1:])  # an epoch each
    assert counts.shape == (3, dataset.count("validation"), 3, 3)
    labels = np.concatenate([labels for _, _, labels in dataset.blocks("validation")])
    true = [[(image == index).sum() for index in range(3)] for image in labels]
    assert (counts.sum(axis=3) == true).all()
    pooled = counts.sum(axis=1)
    scores = mean_over_classes(iou(pooled), labelled_classes(pooled))
    assert history["validation_mean_iou"].tolist() == pytest.approx(scores, abs=1e-12)
    assert history["validation_pixel_accuracy"].tolist() == pytest.approx(pixel_accuracy(pooled), abs=1e-12)


def test_the_next_iteration_carries_the_counts_on_and_starts_warm(train, tmp_path):
    begun = time.perf_counter()
    _, before = train("first")
    warm, history = train("second", previous="first", training={"learning_rate": 1e-12})
    assert history["cumulative_epoch"].tolist() == [4, 5, 6]
    assert history["cumulative_steps"].tolist() == [12, 15, 18]
    assert history["cumulative_images"].tolist() == [40, 50, 60]
    seconds = history["cumulative_seconds"]
    assert before["cumulative_seconds"][2] < seconds[0] < seconds[2] < time.perf_counter() - begun
    first = load_file(tmp_path / "first.safetensors")
    assert all(torch.allclose(warm[name], first[name], atol=1e-9) for name in first)


def test_a_scratch_start_forgets_the_last_iteration(train, tmp_path):
    train("first")
    scratch, history = train("second", previous="first", start="scratch", training={"learning_rate": 1e-12})
    fresh = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1).state_dict()
    assert all(torch.allclose(scratch[name], fresh[name], atol=1e-9) for name in fresh)
    assert history["cumulative_epoch"].tolist() == [4, 5, 6]


def test_the_images_come_in_the_order_of_the_cumulative_epoch(train):
    whole, _ = train(
        "whole",
        training={
            "epochs": 2,
            "optimizer": "sgd",
            "momentum": 0.0,
            "schedule": {"kind": "plateau", "monitor": "none", "factor": 0.5, "patience": 1},
        },
    )
    train("first", training={"epochs": 1, "optimizer": "sgd", "momentum": 0.0})
    chain, _ = train("second", previous="first", training={"epochs": 1, "optimizer": "sgd", "momentum": 0.0})
    assert equal(whole, chain)  # a chain on intact images without optimiser state is one long training


def test_the_mask_decides_what_is_seen(train, tmp_path):
    intact, _ = train("intact")
    write_mask(tmp_path / "half.h5", iter([np.tile(np.arange(16) < 8, (10, 16, 1))]), (16, 16), {})
    reduced, _ = train("reduced", mask=tmp_path / "half.h5")
    assert not equal(intact, reduced)


@pytest.mark.parametrize(("monitor", "lowered"), [("training", 3), ("validation", 4), ("none", 5)])
def test_the_rate_follows_the_loss_that_is_monitored(train, monitor, lowered, monkeypatch):
    losses = iter([(1.0, 3.0), (2.0, 2.0), (0.5, 2.5), (0.4, 1.0)])  # of the training, of the validation
    run_epoch, names = Trainer.run_epoch, ("train_loss", "validation_loss")

    def told(*arguments):
        return run_epoch(*arguments) | dict(zip(names, next(losses), strict=True))

    monkeypatch.setattr(Trainer, "run_epoch", told)
    schedule = {"kind": "plateau", "monitor": monitor, "factor": 0.5, "patience": 0}
    _, history = train(training={"epochs": 4, "schedule": schedule})
    assert history["learning_rate"].tolist() == [0.01 if epoch < lowered else 0.005 for epoch in range(1, 5)]


def test_the_rate_falls_when_the_monitored_loss_stops_falling(train):
    _, history = train(training={"epochs": 8, "learning_rate": 0.3})
    rates, losses = history["learning_rate"], history["validation_loss"]
    rises = losses[1:].to_numpy() >= np.minimum.accumulate(losses)[:-1].to_numpy()
    assert rises[:-1].any()
    assert ((rates[2:].to_numpy() < rates[1:-1].to_numpy()) == rises[:-1]).all()


def test_history_names_the_highest_rate_of_an_epoch_the_device_and_its_memory(train, monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 << 20)
    _, history = train(training={"epochs": 2, "schedule": {"kind": "cosine", "warm_up": 0}})
    assert history["learning_rate"].tolist() == pytest.approx([0.01, 0.005])  # they fall from the first step on
    assert history["device"].str.startswith("cpu (").all()
    assert history["gpu_memory_mb"].tolist() == [3, 3]


def test_a_training_tells_what_it_came_to(train, tmp_path, capfd):
    _, history = train()
    end = history.iloc[-1]
    losses = f"train loss {end['train_loss']:.4f}, validation loss {end['validation_loss']:.4f}"
    told = f"3 epochs on cpu, {losses}, mean IoU {end['validation_mean_iou']:.4f}"
    assert capfd.readouterr().err.splitlines()[-1] == f"{tmp_path / 'model.safetensors'}: {told}"


def test_the_fill_of_a_training_is_that_of_its_seed(train, dataset, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(training, "build_trainer", lambda *all_of: shown.append(all_of[2][0]) or build_trainer(*all_of))
    kept = np.tile(np.arange(16) < 8, (10, 16, 1))
    write_mask(tmp_path / "half.h5", iter([kept]), (16, 16), {})
    noise = {"removal": {"fill": "noise"}, "mask": tmp_path / "half.h5"}
    train(seed=3, training={"epochs": 1}, **noise)
    images, _ = dataset.pick("train", range(10))
    expected = fill_removed(images, kept, "noise", dataset.mean, 3, range(10))
    assert np.array_equal(shown[0].store.tensors[0], expected)


@pytest.mark.parametrize("is_asked", [True, False])
@pytest.mark.parametrize(
    ("windows", "has_statistics", "is_filled", "is_recorded"),
    [(0, False, True, True), (0, True, False, True), (8, False, False, False)],
)
def test_on_a_gpu_steps_are_recorded_and_filled_where_the_network_allows(
    dataset, monkeypatch, is_asked, windows, has_statistics, is_filled, is_recorded
):
    monkeypatch.setattr(training, "GraphRecorder", lambda device: device)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3))[: 1 + has_statistics]
    settings = TRAINING | {"cuda_graphs": is_asked, "precision": "float32"} | ({"windows": windows} if windows else {})
    for device in ("cuda:1", "cpu"):
        images = Images(InMemory(()), torch.device(device))
        built = build_trainer(dataset, network, (images, images), settings, 1)
        is_gpu = device != "cpu"
        assert built.is_filled == (is_gpu and is_filled)
        assert (built.replay is not None) == (is_gpu and is_asked and is_recorded)
        assert built.replay is None or built.replay.recorder == torch.device(device)


def test_a_schedule_that_asks_no_validation_stays_where_masks_are_shown():
    found = [training._unvalidated({"monitor": name, "factor": 0.5}) for name in ("none", "training", "validation")]
    assert found == [{"monitor": name, "factor": 0.5} for name in ("none", "training", "training")]
    assert training._unvalidated({"kind": "cosine"}) == {"kind": "cosine"}


def test_a_warm_start_trusts_the_named_network_and_a_new_one_gets_the_encoder(train, tmp_path, monkeypatch):
    train("first", training={"epochs": 1})
    trusted, built = [], []
    monkeypatch.setattr(training, "trust_network", trusted.append)
    monkeypatch.setattr(training, "build_model", lambda *all_of: built.append(all_of) or build_model(*all_of[:4]))
    train("second", previous="first", training={"epochs": 1})
    assert (trusted, built) == ([{"name": "unet", "widths": [2, 4]}], [])
    arguments = training_arguments(tmp_path, tmp_path, "third", previous="first", start="scratch")
    files = replace(arguments["files"], encoder=tmp_path / "encoder")
    data = SimpleNamespace(image_shape=(16, 16, 1), classes=("a", "b"))
    training._first_weights(data, files, arguments["model"], "scratch", 7)
    assert built == [(1, 2, arguments["model"], 7, tmp_path / "encoder")]


def test_a_history_that_was_cut_is_not_carried_on(train, tmp_path):
    train("first", training={"epochs": 1})
    history = tmp_path / "first.csv"
    history.write_text(history.read_text()[:-3])
    with pytest.raises(InputError, match=r"first\.csv"):
        train("second", previous="first")


def test_the_best_epoch_is_kept_when_asked_for(train):
    training = {"epochs": 8, "learning_rate": 0.3, "keep": "best"}
    best, history = train("best", training=training)
    epoch = int(history["validation_loss"].idxmin()) + 1
    assert epoch < 8
    upto, _ = train("upto", training={**training, "epochs": epoch, "keep": "last"})
    assert equal(best, upto)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimiser_lowers_the_loss(train, optimizer):
    _, history = train(training={"optimizer": optimizer, "epochs": 6})
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_more_windows_are_another_training_of_as_many_steps(train):
    few, _ = train("few", **NETWORKS["sliding_window"])
    many, history = train("many", **(NETWORKS["sliding_window"] | {"training": {"windows": 32}}))
    assert not equal(few, many)
    assert history["cumulative_steps"].tolist() == [3, 6, 9]


def test_the_published_training_works_image_by_image(train):
    model = {"name": "unet", "widths": [2, 4], "padding": "valid", "dropout": 0.5, "initialisation": "he"}
    published = {"optimizer": "sgd", "momentum": 0.99, "batch_size": 1, "epochs": 6, "learning_rate": 0.001}
    weights, history = train(model=model, training=published)
    assert history["cumulative_steps"].tolist() == [10 * epoch for epoch in range(1, 7)]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    again, _ = train("again", model=model, training=published)
    assert equal(weights, again)


def test_bfloat16_trains_to_almost_the_same_loss(train):
    _, full = train("full")
    _, half = train("half", training={"precision": "bfloat16"})
    assert set(half["precision"]) == {"bfloat16"}
    assert half["train_loss"].to_numpy() == pytest.approx(full["train_loss"].to_numpy(), rel=0.02)
    assert half["train_loss"].tolist() != full["train_loss"].tolist()


def test_a_loss_that_is_not_finite_names_epoch_batch_and_seed(train, tmp_path):
    with pytest.raises(InputError, match=r"not finite in batch 2 \(cumulative epoch 1, seed 1, learning rate 1e\+30"):
        train(training={"learning_rate": 1e30, "epochs": 5})
    assert not (tmp_path / "model.safetensors").exists()


def test_a_warm_start_from_another_architecture_is_refused(train, tmp_path):
    train("first")
    save_model(tmp_path / "first.safetensors", build_model(3, 3, {"name": "unet", "widths": [2, 8]}, seed=1))
    with pytest.raises(InputError, match=r"first\.safetensors: model of another architecture"):
        train("second", previous="first")


def test_augmentation_moves_image_and_labels_together():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (8, 16, 16), dtype=torch.uint8)
    images = (labels * 100)[..., None].expand(-1, -1, -1, 3).contiguous()
    changed, moved = build_augmentation(["flip"], 16)(images, labels)
    assert changed.shape == images.shape
    assert torch.equal(changed[..., 0], moved * 100)
    assert not torch.equal(moved, labels)


def test_colour_changes_images_only_and_elastic_keeps_labels_labels():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 16, 16), dtype=torch.uint8)
    images = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    coloured, same = build_augmentation(["colour"], 16)(images, labels)
    assert torch.equal(same, labels)
    assert not torch.equal(coloured, images)
    _, bent = build_augmentation(["elastic"], 16)(images, labels)
    assert set(bent.unique().tolist()) == {0, 1, 2, 255}
    assert not torch.equal(bent, labels)


@every_network
def test_an_augmented_training_repeats_itself(train, network):
    training = network.get("training", {})
    augmented = network | {"training": {**training, "augmentation": ["flip", "colour", "elastic"]}}
    first, _ = train("first", **augmented)
    again, _ = train("again", **augmented)
    plain, _ = train("plain", **network)
    assert equal(first, again)
    assert not equal(first, plain)


def test_augmentation_moves_by_shares_of_an_image_s_side(train, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "spatial_reduction.training.train.build_augmentation", lambda names, side: asked.append((names, side))
    )
    train("model", training={"augmentation": ["shift"]})
    assert asked == [(["shift"], 16)]


def test_a_batch_that_is_larger_than_the_data_is_refused(train, tmp_path):
    with pytest.raises(
        InputError, match=r"training\.batch_size: 11 is more than the 10 training images of .*dataset\.h5"
    ):
        train(training={"batch_size": 11})
    train(training={"batch_size": 10, "epochs": 1})
