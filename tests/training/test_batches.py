import threading

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import equal
from spatial_reduction.data import dataset_file
from spatial_reduction.masks.apply_mask import Removal, fill_removed, reduced_blocks
from spatial_reduction.masks.mask_file import write_mask
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.masks.score_pixels import Scoring, compute_saliency
from spatial_reduction.masks.shrink import write_intact_mask
from spatial_reduction.networks.inference import to_input
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.networks.window_sampling import draw_balanced
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.files import open_hdf5
from spatial_reduction.training import checkpoint
from spatial_reduction.training.batches import Images, load_images
from spatial_reduction.training.epoch import Trainer, segmentation_loss
from spatial_reduction.training.image_store import InMemory

CPU = torch.device("cpu")
MODES = {
    "loss_only": {"removal": {"removes": "loss"}},
    "input_and_loss": {"removal": {"removes": "input_and_loss"}},
    "mixed": {"removal": {"intact_share": 50}},
    "mask_only": {"removal": {"fill": "mask"}},
    "crop": {"removal": {"crop": True}},
}
WINDOWS = {
    "model": {"name": "sliding_window", "widths": [2, 3, 4], "window": 13},
    "training": {"windows": 8},
}
EVERY_MODE = [pytest.param({}, mode, id=mode) for mode in MODES]

EVERY_MODE += [pytest.param(WINDOWS, mode, id=f"sliding_window-{mode}") for mode in MODES if mode != "crop"]

# What a trained encoder brings along: statistics beside the weights, a rate for each step, a second part of the loss.
ENCODER = {
    "model": {"name": "encoder_unet", "encoder": "test_efficientnet", "widths": [2, 4], "weights": None},
    "training": {
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "schedule": {"kind": "one_cycle", "warm_up": 30},
        "loss": "cross_entropy_and_dice",
        "class_weights": "balanced",
    },
}


def test_windows_are_cut_around_pixels_that_train(dataset, half):
    path, kept = half
    shown, _ = load_images(dataset, path, Removal(removes="loss"), 1, CPU, stride=1)
    assert kept[draw_balanced(shown.store.tensors[1], 500)].all()


def test_pixels_that_left_the_loss_have_no_gradient_and_the_others_do(dataset, half):
    path, kept = half
    shown, _ = load_images(dataset, path, Removal(removes="loss"), 1, CPU, stride=2)
    logits = build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1)(to_input(shown.store.tensors[0]))
    logits.retain_grad()
    segmentation_loss(logits, shown.store.tensors[1]).backward()
    gradient = logits.grad.abs().sum(dim=1).numpy()
    assert (gradient[~kept] == 0).all()
    assert (gradient[kept] > 0).all()


def test_saliency_is_that_of_the_images_as_the_network_saw_them(dataset, dataset_path, half, tmp_path):
    path, kept = half
    images, labels = dataset.pick("train", range(10))
    for removes, expected in (
        ("loss", images),
        ("input", fill_removed(images, kept, "black", dataset.mean, 1, range(10))),
    ):
        blocks = list(reduced_blocks(dataset, path, Removal(removes=removes), 1, np.arange(10)))
        assert np.array_equal(np.concatenate([pixels for _, pixels, _ in blocks]), expected)
        assert np.array_equal(np.concatenate([true for _, _, true in blocks]), labels)  # for the oracle


def test_a_network_that_is_shown_masks_is_not_steered_by_intact_validation_images(train_on_half):
    steered = {"schedule": {"kind": "plateau", "monitor": "training", "factor": 0.5, "patience": 0}}
    by_training = train_on_half("training", steered, removal={"fill": "mask"})
    assert equal(train_on_half("best", {"keep": "best"}, removal={"fill": "mask"}), by_training)
    assert equal(train_on_half("validation", removal={"fill": "mask"}), by_training)


def numbered(count, share):
    """Images of one pixel: 0, 1, 2, ...; intact ones 100, 101, 102, ..."""
    labels = torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1)
    intact = InMemory(((labels + 100)[..., None], labels))
    return Images(InMemory((labels[..., None], labels)), CPU, intact, share)


@pytest.mark.parametrize(
    ("count", "size", "share", "expected"),
    [
        (12, 4, 50, [2, 2, 2]),
        (10, 4, 50, [2, 2, 1]),
        (9, 3, 50, [1, 2, 1]),
        (4, 1, 50, [0, 1, 0, 1]),
        (10, 5, 20, [1, 1]),
        (4, 2, 100, [2, 2]),
        (4, 2, 0, [0, 0]),
    ],
)
def test_the_wanted_share_of_every_batch_is_intact_and_every_image_comes_once(count, size, share, expected):
    order = torch.from_numpy(np.random.default_rng(0).permutation(count))
    batches = list(numbered(count, share).batches(order, size))
    assert [int((pixels >= 100).sum()) for pixels, _ in batches] == expected
    assert torch.equal(torch.cat([pixels.flatten() % 100 for pixels, _ in batches]), order.to(torch.uint8))
    assert torch.equal(torch.cat([labels.flatten() for _, labels in batches]), order.to(torch.uint8))


def test_intact_images_keep_the_labels_that_reduced_ones_lose(dataset, half):
    path, _ = half
    images, _ = load_images(dataset, path, Removal(removes="input_and_loss", intact_share=50), 1, CPU, stride=2)
    pixels, labels = next(images.batches(torch.arange(10), 10))
    true = dataset.pick("train", range(10))
    assert np.array_equal(pixels[:5], true[0][:5])
    assert np.array_equal(labels[:5], true[1][:5])
    assert np.array_equal(pixels[5:], images.store.tensors[0][5:])
    assert (labels[5:] == 255).any(dim=(1, 2)).all()


def test_all_intact_is_a_training_on_intact_images(train_on_half, dataset_path, tmp_path):
    write_intact_mask(dataset_path, tmp_path / "intact_mask.h5")
    assert equal(
        train_on_half("all", removal={"intact_share": 100}), train_on_half("intact", mask=tmp_path / "intact_mask.h5")
    )


@pytest.mark.parametrize(("network", "mode"), EVERY_MODE)
def test_every_mode_trains_differently_and_changes_nothing_on_an_intact_mask(
    network, mode, train_on_half, dataset_path, tmp_path
):
    write_intact_mask(dataset_path, tmp_path / "intact_mask.h5")
    monitored = {"epochs": 2, "schedule": {"kind": "plateau", "monitor": "training", "factor": 0.5, "patience": 0}}
    plain = {**network, "training": {**monitored, **network.get("training", {})}}
    assert not equal(train_on_half("plain", **plain), train_on_half("mode", **plain, **MODES[mode]))
    assert pd.read_csv(tmp_path / "mode.csv")["cumulative_steps"].tolist() == [3, 6]  # 10 images in batches of 4
    intact = {**plain, "mask": tmp_path / "intact_mask.h5"}
    assert equal(train_on_half("plain_intact", **intact), train_on_half("mode_intact", **intact, **MODES[mode]))


def validation_counts(path):
    with open_hdf5(path, "validation_counts") as file:
        return file["confusion"][:].tolist()


def interrupt(monkeypatch, run, at=3):
    """Stop a training before its third epoch, or another."""
    run_epoch = Trainer.run_epoch

    def interrupted(trainer, epoch, rates):
        if epoch == at:
            raise KeyboardInterrupt
        return run_epoch(trainer, epoch, rates)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()


@pytest.mark.parametrize(
    ("network", "mode"),
    [*EVERY_MODE, *(pytest.param(ENCODER, mode, id=f"encoder-{mode}") for mode in ("mixed", "crop"))],
)
def test_every_mode_resumes_with_the_same_bits(network, mode, train_on_half, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(checkpoint, "SHARE_OF_TIME", np.inf)  # one after every epoch
    settings = {**network, **MODES[mode]}
    undisturbed = train_on_half("undisturbed", **settings)
    interrupt(monkeypatch, lambda: train_on_half("stopped", **settings))
    assert equal(train_on_half("stopped", **settings), undisturbed)
    assert "resuming after epoch 2" in capfd.readouterr().err
    assert validation_counts(tmp_path / "stopped.h5") == validation_counts(tmp_path / "undisturbed.h5")
    (tmp_path / "stopped.h5").unlink()  # as Snakemake does to a job that failed after its training had ended
    train_on_half("stopped", **settings)
    assert validation_counts(tmp_path / "stopped.h5") == validation_counts(tmp_path / "undisturbed.h5")


@pytest.mark.parametrize("seventh", [1.1, 0.9])
def test_a_resumed_training_knows_its_best_epoch_its_rate_and_how_long_it_has_waited(
    seventh, train_on_half, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint, "SHARE_OF_TIME", np.inf)
    losses, validate = iter([]), Trainer._validate
    monkeypatch.setattr(Trainer, "_validate", lambda trainer: validate(trainer) | {"validation_loss": next(losses)})
    schedule = {"kind": "plateau", "monitor": "validation", "factor": 0.5, "patience": 2}
    settings = {"epochs": 9, "keep": "best", "schedule": schedule}
    fallen = [3.0, 1.0, 1.5, 1.4, 1.3, 1.2, seventh, 1.05, 1.02]  # three wait after the second, and then one
    losses = iter(fallen)
    undisturbed = train_on_half("undisturbed", settings)
    losses = iter(fallen)
    interrupt(monkeypatch, lambda: train_on_half("stopped", settings), at=7)
    assert equal(train_on_half("stopped", settings), undisturbed)
    rates = pd.read_csv(tmp_path / "stopped.csv")["learning_rate"].tolist()
    assert rates == pd.read_csv(tmp_path / "undisturbed.csv")["learning_rate"].tolist()
    assert rates == 5 * [0.01] + 3 * [0.005] + [0.0025 if seventh > 1 else 0.005]
    losses = iter(fallen)
    best = {"epochs": 2 if seventh > 1 else 7}
    assert equal(train_on_half("short", settings | best), undisturbed)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_resumed_training_goes_on_with_the_rows_to_be_watched(train_on_half, tmp_path, monkeypatch, is_there):
    monkeypatch.setattr(checkpoint, "SHARE_OF_TIME", np.inf)
    interrupt(monkeypatch, lambda: train_on_half("stopped"))
    if not is_there:
        (tmp_path / "stopped_so_far.csv").unlink()
    interrupt(monkeypatch, lambda: train_on_half("stopped"), at=4)
    assert pd.read_csv(tmp_path / "stopped_so_far.csv")["epoch"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "changes", [{}, {"removal": {"fill": "noise"}}, {"removal": {"fill": "blur"}}, *MODES.values()], ids=str
)
def test_images_that_do_not_fit_into_memory_are_read_again_and_train_to_the_same_bits(changes, train_on_half, capfd):
    in_memory = train_on_half("in_memory", **changes)
    assert "read" not in capfd.readouterr().err
    assert equal(train_on_half("in_files", memory_mb=0.01, **changes), in_memory)  # the images take 15 kB or more
    needed = "0.02" if "intact_share" in changes.get("removal", {}) else "0.01"  # the intact images, too
    told = f"{needed} MB of images exceed half of the job's 0.01 MB: every epoch reads their files"
    assert told in capfd.readouterr().err.splitlines()


def test_weights_of_pixels_stay_beside_images_that_are_read_again(train_on_half):
    balanced = {"class_weights": "balanced"}
    weighted = train_on_half("in_memory", balanced)
    assert equal(train_on_half("in_files", balanced, memory_mb=0.01), weighted)
    assert not equal(train_on_half("plain"), weighted)


def test_weights_of_pixels_must_fit_into_memory_too(dataset, half):
    count = dataset.count("train") + dataset.count("validation")
    fits = 2 * 16 * 16 * 4 * count / 1e6  # three channels and the labels; half of the memory is for them
    for weighting, is_read in ((None, False), ({"class_weights": "balanced"}, True)):
        images, _ = load_images(dataset, half[0], Removal(), 1, CPU, 2, weighting, memory_mb=fits)
        assert images.store.is_read_ahead == is_read


def test_a_checkpoint_of_another_mode_is_not_used(train_on_half, monkeypatch, capfd):
    expected = train_on_half("expected", removal={"removes": "loss"})
    interrupt(monkeypatch, lambda: train_on_half("stopped"))
    assert equal(train_on_half("stopped", removal={"removes": "loss"}), expected)
    assert "checkpoint of another training" in capfd.readouterr().err


def test_the_scores_of_a_loss_only_arm_are_of_intact_images(dataset, dataset_path, half, tmp_path):
    save_model(tmp_path / "model", build_model(3, 3, {"name": "unet", "widths": [2, 4]}, seed=1))
    scores = []
    for name, images, removes in (("a", "reduced", "loss"), ("b", "intact", "input")):
        scoring, removal = Scoring("probability", ["pet"], saliency_images=images), Removal(removes=removes)
        arguments = (dataset_path, tmp_path / "model", half[0], tmp_path / name, scoring, removal)
        compute_saliency(*arguments, Machine("cpu", 1), seed=1, iteration=3)
        with open_scores(tmp_path / name, 10, (16, 16)) as values:
            scores.append(values[:])
    assert np.array_equal(*scores)


def test_the_thread_that_reads_ahead_moves_nothing_to_the_device(dataset, half, monkeypatch):
    threads, readers = [], []

    def noted(tensor, device):
        threads.append(threading.current_thread())
        return tensor

    def picked(images, pick, chosen, _picked=Images._picked):
        readers.append(threading.current_thread())
        return _picked(images, pick, chosen)

    monkeypatch.setattr("spatial_reduction.training.batches.moved", noted)
    monkeypatch.setattr(Images, "_picked", picked)
    removal = Removal(removes="input_and_loss", intact_share=50)
    images, validation = load_images(dataset, half[0], removal, 1, CPU, stride=2, memory_mb=0.01)
    for each in (images, validation):
        assert each.store.is_read_ahead
        list(each.batches(torch.arange(len(each)), 4))
    assert set(threads) == {threading.main_thread()}
    assert len(threads) == 2 * (3 + 1)  # images and labels of three batches, and of one
    assert threading.main_thread() not in readers
    assert len(readers) == 2 * 3 + 1  # reduced and intact images of three batches
    readers.clear()
    list(load_images(dataset, half[0], removal, 1, CPU, stride=2)[0].batches(torch.arange(10), 4))
    assert set(readers) == {threading.main_thread()}  # what is in memory waits for no file


def test_every_image_is_cropped_to_its_own_box(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_file, "BLOCK_PIXELS", 4 * 256)  # four masks at a time
    kept = np.zeros((10, 16, 16), dtype=bool)
    for index in range(10):
        kept[index, index // 2 : index // 2 + 4 + index % 4, 2 : 7 + index] = True
    write_mask(tmp_path / "boxes.h5", iter([kept]), (16, 16), {})
    for stride in (1, 2):
        images, _ = load_images(dataset, tmp_path / "boxes.h5", Removal(crop=True), 1, CPU, stride)
        assert images.windows.boxes.tolist() == [[i // 2, 2, 4 + i % 4, min(5 + i, 14)] for i in range(10)]
        assert images.windows.stride == stride
        seen = []
        for pixels, labels in images.batches(torch.arange(10), 4):
            assert pixels.shape[1] % stride == pixels.shape[2] % stride == 0
            seen += [sorted(each[true != 255].flatten().tolist()) for each, true in zip(pixels, labels, strict=True)]
        true = zip(*dataset.pick("train", range(10)), kept, strict=True)
        boxes = [sorted(each[here & (classes != 255)].flatten().tolist()) for each, classes, here in true]
        assert sorted(seen) == sorted(boxes)


@pytest.mark.parametrize("free", ["enough", "a byte too little", "taken meanwhile"])
def test_images_go_to_the_gpu_if_half_of_what_is_free_there_holds_all(dataset, half, free, monkeypatch, capfd):
    needed = 2 * 16 * 16 * 4 * (2 * 10 + 2) + 2 * 4 * 16 * 16 * 10  # twice the images, and weights of the pixels
    asked = []

    def move(store, device):
        asked.append((store, device))
        if free == "taken meanwhile" and len(asked) == 3:
            raise torch.OutOfMemoryError
        return store

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (needed - (free == "a byte too little"), 10 * needed))
    monkeypatch.setattr(InMemory, "moved", move)
    settings = (Removal(intact_share=50), 1, torch.device("cuda"), 2, {"class_weights": "balanced"})
    images, validation = load_images(dataset, half[0], *settings)
    stores = [images.store, validation.store, images.intact]
    assert [len(store) for store in stores] == [10, 2, 10]
    assert asked == ([] if free == "a byte too little" else [(store, torch.device("cuda")) for store in stores])
    told = "0.03 MB of images do not fit on the GPU: they stay in the memory of the machine\n"
    assert capfd.readouterr().err == (told if free == "taken meanwhile" else "")


ON_A_GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))


@pytest.fixture
def repeatable():
    """Leave the mode of this process as it was."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("device", ["cpu", ON_A_GPU])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("where", ["on the device", "on the host", "in files", "cropped"])
def test_recorded_steps_are_the_launched_ones_bit_by_bit_wherever_the_images_lie(
    where, precision, device, train_on_half, monkeypatch, repeatable
):
    """With a smaller last batch, and after a resume; on the CPU, where none is recorded, the key changes nothing."""
    changes = {"in files": {"memory_mb": 0.01}, "cropped": {"removal": {"crop": True}}}.get(where, {})
    if where == "on the host" and device == "cuda":
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (0, 0))
    settings = {"device": device, "deterministic": True, "epochs": 6, "precision": precision}
    recorded = settings | {"cuda_graphs": True}
    launched = train_on_half("launched", settings | {"cuda_graphs": False}, **changes)
    assert equal(train_on_half("recorded", recorded, **changes), launched)
    interrupt(monkeypatch, lambda: train_on_half("resumed", recorded, **changes))
    assert equal(train_on_half("resumed", recorded, **changes), launched)
