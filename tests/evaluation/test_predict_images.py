import os

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from experiments import ROOT
from spatial_reduction.data.layouts import IMAGE_SUFFIXES
from spatial_reduction.evaluation import predict_images as predict_module
from spatial_reduction.evaluation.predict_images import FOLDERS, _bilinear, predict_images
from spatial_reduction.networks.inference import compute_logits
from spatial_reduction.networks.model_file import build_model, load_model, save_model
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import open_hdf5

CLASSES = ["background", "pet", "border"]


def draw(*shape, dtype="uint8"):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


@pytest.fixture
def predict(tmp_path):
    """Predict files of tmp_path; return the table. The folder of results is tmp_path/results."""

    def run(names, colour="rgb", folder="results", **changes):
        section = {"name": "unet", "widths": [2, 4], "initialisation": "he", "dropout": 0.5}
        save_model(tmp_path / "model", build_model({"rgb": 3, "grey": 1}[colour], 3, section, seed=7))
        sections = {
            "dataset": {"classes": CLASSES, "image_size": 16, "colour": colour, "intensity_range": None},
            "prediction": {"resize": True, "tile": 8},
            "evaluation": {"foreground": ["pet", "border"], "test_time_augmentation": 1},
        }
        for keys in sections.values():
            keys.update({key: changes.pop(key) for key in list(changes) if key in keys})
        assert not changes
        table = tmp_path / folder / "predictions.csv"
        paths = [tmp_path / name for name in names]
        predict_images(paths, tmp_path / "model", table, **sections, machine=Machine("cpu", 1))
        return pd.read_csv(table)

    return run


def read(folder, name):
    """Return (labels, probabilities) of one image as they were written."""
    with open_hdf5(folder / f"results/probabilities/{name}.h5", "probabilities") as file:
        assert list(file.attrs["classes"]) == CLASSES
        probabilities = file["probabilities"][:]
    return np.asarray(Image.open(folder / f"results/labels/{name}.png")), probabilities


def test_any_common_picture_gives_results_of_its_own_size(predict, tmp_path, capfd):
    Image.fromarray(draw(37, 53, 3)).save(tmp_path / "colour.png")
    Image.fromarray(draw(20, 10, 3)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    tifffile.imwrite(tmp_path / "deep.tif", draw(9, 12, dtype="uint16"))
    table = predict(["deep.tif", "colour.png", "cmyk.jpg"])
    assert table.columns.tolist() == ["image", "height", "width", "class", "share"]
    assert table["image"].tolist() == ["cmyk.jpg"] * 3 + ["colour.png"] * 3 + ["deep.tif"] * 3
    assert table["class"].tolist() == CLASSES * 3
    said = f"{tmp_path}/results/predictions.csv: 3 images predicted by {tmp_path}/model on cpu\n"
    assert said in capfd.readouterr().err
    for name, size in (("colour", (37, 53)), ("cmyk", (20, 10)), ("deep", (9, 12))):
        labels, probabilities = read(tmp_path, name)
        assert labels.shape == size
        assert probabilities.shape == (3, *size)
        assert probabilities.dtype == np.float16
        assert np.asarray(Image.open(tmp_path / f"results/overlays/{name}.png")).shape == (*size, 3)
        rows = table[table["image"].str.startswith(name)]
        assert rows[["height", "width"]].to_numpy().tolist() == [list(size)] * 3
        assert rows["share"].tolist() == pytest.approx([(labels == index).mean() for index in range(3)])


@pytest.mark.parametrize(("size", "resize"), [((16, 16), True), ((12, 20), False)])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_probabilities_and_labels_are_those_of_the_network(predict, tmp_path, size, resize, colour):
    pixels = draw(*size, 3) if colour == "rgb" else draw(*size, 1)
    Image.fromarray(pixels.squeeze()).save(tmp_path / "image.png")
    predict(["image.png"], colour, resize=resize)
    network = load_model(tmp_path / "model").eval()
    expected = compute_logits(network, pixels[None], torch.device("cpu")).softmax(dim=1)[0].numpy()
    labels, probabilities = read(tmp_path, "image")
    assert np.array_equal(labels, expected.argmax(axis=0))
    assert len(np.unique(labels)) > 1
    assert np.allclose(probabilities, expected, rtol=2**-11, atol=1e-7)


def test_the_overlay_shows_the_classes_of_the_foreground(predict, tmp_path):
    pixels = draw(12, 20, 3)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    predict(["image.png"], resize=False, foreground=["border", "pet"])
    labels, overlay = read(tmp_path, "image")[0], np.asarray(Image.open(tmp_path / "results/overlays/image.png"))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.array_equal((overlay != pixels).any(axis=2), labels > 0)


def test_deep_pictures_are_read_with_the_range_of_the_training_images(predict, tmp_path):
    deep = draw(12, 20, dtype="uint16") // 64
    tifffile.imwrite(tmp_path / "image.tif", deep)
    predict(["image.tif"], "grey", resize=False, intensity_range=[0, 1023])
    network = load_model(tmp_path / "model").eval()
    shown = np.rint(deep[None, ..., None] * (255 / 1023)).astype(np.uint8)
    expected = compute_logits(network, shown, torch.device("cpu")).softmax(dim=1)[0].numpy()
    assert np.allclose(read(tmp_path, "image")[1], expected, atol=5e-3)
    predict(["image.tif"], "grey", resize=False)
    assert not np.allclose(read(tmp_path, "image")[1], expected, atol=5e-3)


def test_tiles_have_the_side_that_is_asked_for_in_memory_and_in_the_file(predict, tmp_path, monkeypatch):
    seen = []
    whole = predict_module.compute_logits_of_part
    monkeypatch.setattr(
        predict_module,
        "compute_logits_of_part",
        lambda network, image, rows, columns, device: (
            seen.append((rows.stop - rows.start, columns.stop - columns.start))
            or whole(network, image, rows, columns, device)
        ),
    )
    Image.fromarray(draw(12, 20, 3)).save(tmp_path / "image.png")
    predict(["image.png"], resize=False, tile=10)
    assert seen == [(10, 10), (10, 10), (2, 10), (2, 10)]
    with h5py.File(tmp_path / "results/probabilities/image.h5") as file:
        assert file["probabilities"].chunks == (1, 10, 10)
        assert file["probabilities"].fletcher32
    predict(["image.png"], tile=10)
    with h5py.File(tmp_path / "results/probabilities/image.h5") as file:
        assert file["probabilities"].chunks == (1, 12, 20)  # a resized image has no tiles


@pytest.mark.parametrize("chunk", [512, 20])
def test_a_resized_image_is_seen_as_in_training_and_its_result_has_the_images_size(
    predict, tmp_path, monkeypatch, chunk
):
    monkeypatch.setattr(predict_module, "CHUNK", chunk)  # the result is made in parts of this side
    pixels = Image.fromarray(draw(16, 16, 3)).resize((48, 32), Image.Resampling.NEAREST)
    pixels.save(tmp_path / "image.png")
    predict(["image.png"])
    network = load_model(tmp_path / "model").eval()
    seen = np.array(pixels.resize((16, 16), Image.Resampling.BILINEAR))
    small = compute_logits(network, seen[None], torch.device("cpu")).softmax(dim=1)[0].numpy()
    _, probabilities = read(tmp_path, "image")
    # Oracle: Pillow's own bilinear resize of each map.
    maps = [np.asarray(Image.fromarray(map_).resize((48, 32), Image.Resampling.BILINEAR)) for map_ in small]
    assert np.allclose(probabilities, maps, atol=2e-3)


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_done(predict, tmp_path, capfd):
    Image.fromarray(draw(8, 8, 3)).save(tmp_path / "z.png")
    for name in ("broken.png", "empty.png"):
        (tmp_path / name).write_bytes(b"no picture")
    told = rf"2 of 3 images could not be read \(see above\); the others are in {tmp_path}/results$"
    with pytest.raises(InputError, match=told):
        predict(["broken.png", "empty.png", "z.png"])
    assert f"left out: {tmp_path}/broken.png: cannot be decoded (no known image format)" in capfd.readouterr().err
    assert read(tmp_path, "z")[0].shape == (8, 8)
    assert not (tmp_path / "results/predictions.csv").exists()


def test_results_of_other_images_do_not_stay(predict, tmp_path):
    for name in ("old.png", "new.png"):
        Image.fromarray(draw(8, 8, 3)).save(tmp_path / name)
        predict([name])
    assert [path.name for path in (tmp_path / "results/labels").iterdir()] == ["new.png"]


def test_a_model_of_other_channels_is_refused(predict, tmp_path):
    Image.fromarray(draw(8, 8, 3)).save(tmp_path / "image.png")
    with pytest.raises(InputError, match="model of another architecture"):
        predict(["image.png"], classes=[*CLASSES, "collar"])


def test_logits_that_are_not_finite_name_the_model_and_the_image(predict, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise InputError("the model's logits are not finite")

    monkeypatch.setattr(predict_module, "compute_logits", refuse)
    Image.fromarray(draw(8, 8, 3)).save(tmp_path / "image.png")
    with pytest.raises(InputError, match=f"^{tmp_path}/model on {tmp_path}/image.png: the model's logits"):
        predict(["image.png"])


def test_results_go_into_a_folder_that_nobody_has_made(predict, tmp_path):
    Image.fromarray(draw(8, 8, 3)).save(tmp_path / "image.png")
    assert len(predict(["image.png"], folder="some/new/folder")) == 3


def test_symmetries_change_the_prediction(predict, tmp_path):
    Image.fromarray(draw(10, 14, 3)).save(tmp_path / "image.png")
    found = []
    for symmetries, resize in ((1, True), (8, True), (1, False), (8, False)):
        predict(["image.png"], test_time_augmentation=symmetries, resize=resize)
        found.append(read(tmp_path, "image")[1])
    assert not any(np.array_equal(found[i], found[i + 1]) for i in (0, 2))


@pytest.fixture
def listing(tmp_path):
    """List the new images of a folder by the function of prediction.smk; a refusal exits with its line."""
    config = {"prediction": {"images": None}}
    defined = {"os": os, "config": config, "outside": str}
    for rules in (ROOT / "workflow/rules/checks.smk", ROOT / "workflow/rules/prediction.smk"):
        exec(compile(rules.read_text().partition("\nrule ")[0], rules, "exec"), defined)
    assert set(defined["PICTURES"]) == IMAGE_SUFFIXES

    def run(folder):
        config["prediction"]["images"] = folder and str(folder)
        return defined["new_images"](None)

    return run


def test_the_pictures_of_a_folder_are_listed(listing, tmp_path):
    for name in ("b.PNG", "a b.tif", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert listing(tmp_path) == [f"{tmp_path}/a b.tif", f"{tmp_path}/b.PNG"]


@pytest.mark.parametrize(
    ("folder", "files", "message"),
    [
        (None, [], "prediction.images: names no folder"),
        ("missing", [], "missing is not a folder"),
        ("", ["notes.txt"], "holds no picture"),
        ("", ["a.png", "a.tif"], "holds more than one picture named ['a']"),
        ("", ["a{b}.png"], "'a{b}.png': a path must hold no <, >, brace or line break"),
    ],
)
def test_a_folder_without_use_is_refused_in_one_line(listing, tmp_path, folder, files, message):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(SystemExit) as refused:
        listing(None if folder is None else tmp_path / folder)
    assert message in refused.value.code
    assert "\n" not in refused.value.code


def test_a_prediction_removes_links_and_leaves_alone_what_they_lead_to(predict, tmp_path):
    Image.fromarray(draw(8, 8, 3)).save(tmp_path / "image.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "image.png").write_text("mine")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "labels").symlink_to(tmp_path / "mine")
    (tmp_path / "results" / "overlays").symlink_to(tmp_path / "nowhere")
    (tmp_path / "results" / "probabilities").write_text("a file in the place of the folder")
    predict(["image.png"])
    assert (tmp_path / "mine" / "image.png").read_text() == "mine"
    assert not (tmp_path / "results" / "labels").is_symlink()
    assert not (tmp_path / "nowhere").exists()
    assert read(tmp_path, "image")[0].shape == (8, 8)


def test_a_prediction_that_fails_leaves_no_older_table(predict, tmp_path):
    Image.fromarray(draw(8, 8, 3)).save(tmp_path / "image.png")
    predict(["image.png"])
    (tmp_path / "image.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="1 of 1 images could not be read"):
        predict(["image.png"])
    assert not (tmp_path / "results" / "predictions.csv").exists()
    assert not (tmp_path / "results" / "labels").exists()


def test_names_of_almost_255_bytes_and_turned_pictures_are_predicted(predict, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    name = "n" * 251 + ".jpg"
    Image.fromarray(draw(8, 12, 3)).save(tmp_path / name, exif=exif)
    table = predict([name])
    assert table[["height", "width"]].to_numpy().tolist() == [[12, 8]] * 3
    assert read(tmp_path, "n" * 251)[0].shape == (12, 8)


@pytest.mark.parametrize("resize", [True, False])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_large_image_is_predicted_the_same_from_disk(predict, tmp_path, monkeypatch, resize, suffix):
    Image.fromarray(draw(37, 53, 3)).save(tmp_path / f"image.{suffix}")
    table = predict([f"image.{suffix}"], resize=resize, test_time_augmentation=4)
    labels, probabilities = read(tmp_path, "image")
    overlay = np.asarray(Image.open(tmp_path / "results/overlays/image.png"))
    monkeypatch.setattr("spatial_reduction.evaluation.predict_images.MOST_PIXELS_HELD", 0)
    assert predict([f"image.{suffix}"], resize=resize, test_time_augmentation=4).equals(table)
    assert np.array_equal(read(tmp_path, "image")[0], labels)
    assert np.array_equal(read(tmp_path, "image")[1], probabilities)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "results/overlays/image.png")), overlay)
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == sorted([*FOLDERS, "predictions.csv"])


def test_an_image_is_large_by_its_height_times_its_width(predict, tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr("spatial_reduction.evaluation.predict_images.MOST_PIXELS_HELD", 100)
    monkeypatch.setattr(
        "spatial_reduction.evaluation.predict_images.ShownPicture.move_to_disk",
        lambda self, folder: moved.append((self.size, folder)),
    )
    for name, shape in (("small", (4, 25)), ("turned", (25, 4)), ("large", (4, 26)), ("tall", (26, 4))):
        Image.fromarray(draw(*shape, 3)).save(tmp_path / f"{name}.png")
    predict(["small.png", "turned.png", "large.png", "tall.png"])
    assert moved == [((4, 26), tmp_path / "results"), ((26, 4), tmp_path / "results")]


def test_parts_of_any_shape_are_resized_as_by_torch():
    """Oracle: torch's bilinear interpolation with antialiasing of the whole map."""
    small = torch.rand(1, 2, 16, 16)
    for size in ((37, 53), (9, 40), (16, 16), (1, 7)):
        expected = torch.nn.functional.interpolate(small, size, mode="bilinear", antialias=True)[0]
        for rows in (slice(0, size[0]), slice(size[0] // 2, size[0])):
            along_rows, along_columns = _bilinear(rows, size[0], 16), _bilinear(slice(0, size[1]), size[1], 16)
            found = along_rows @ (small[0] @ along_columns.T)
            assert torch.allclose(found, expected[:, rows], rtol=0, atol=2e-6)
