"""What a plan makes of changed, moved, missing and stray pictures: by what they hold the data set is made again."""

import json
import os
import shutil

import pytest
from PIL import Image

from experiments import run_snakemake, tiny

DATASET = "results/demo/dataset.h5"


@pytest.fixture(scope="module")
def prepared(pets, tmp_path_factory):
    """A folder with the raw pictures and the data set that was made of them; not to be changed."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(pets, folder / "raw")
    done = run_snakemake(folder, DATASET, overrides=overrides("raw"))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "work")


def overrides(root, **changes):
    return tiny(dataset={"source": "oxford_pet", "root": root, **changes})


def plan(folder, root="raw", *targets, **changes):
    """Return (whether the data set is to be made, what the plan says of the pictures)."""
    done = run_snakemake(folder, "--dry-run", *(targets or [DATASET]), overrides=overrides(root, **changes))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "dataset.root: " in line]
    return "rule prepare_dataset:" in done.stdout, said


def first_picture(folder):
    return sorted((folder / "raw/images").glob("*.jpg"))[0]


def test_a_finished_data_set_lists_its_pictures(prepared):
    stored = json.loads((prepared / "results/demo/pictures.json").read_text())
    assert len(stored["files"]) == 2 * 24
    assert stored["files"][f"images/{first_picture(prepared).name}"][0] == first_picture(prepared).stat().st_size


def test_stray_files_touched_pictures_and_a_moved_folder_plan_nothing(folder):
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "stray.jpg"):
        (folder / "raw/images" / name).write_bytes(b"stray")
    (folder / "raw/annotations/.DS_Store").touch()
    for path in (folder / "raw").rglob("*"):
        os.utime(path)
    (folder / "raw").rename(folder / "pictures, elsewhere")
    assert plan(folder, str(folder / "pictures, elsewhere")) == (False, [])


def test_a_replaced_picture_is_said_and_makes_the_data_set_again_once(folder):
    picture = first_picture(folder)
    with Image.open(picture) as image:
        size = image.size
    Image.new("RGB", size, "red").save(picture)
    is_planned, (line,) = plan(folder)
    assert is_planned
    assert f"dataset.root: 1 picture changed (1 replaced): images/{picture.name}; dataset.h5 is of " in line
    assert run_snakemake(folder, DATASET, overrides=overrides("raw")).returncode == 0
    assert plan(folder) == (False, [])


def test_a_picture_of_equal_size_and_other_content_is_seen(folder):
    picture = first_picture(folder)
    content = bytearray(picture.read_bytes())
    content[-10] ^= 1
    picture.write_bytes(content)
    is_planned, (line,) = plan(folder)
    assert is_planned
    assert "1 replaced" in line


def test_added_and_removed_pictures_are_counted(folder):
    names = (folder / "raw/annotations/test.txt").read_text().splitlines()
    name = next(line for line in names if line and line[0] != "#").split()[0]
    for kind in ("images/{}.jpg", "annotations/trimaps/{}.png"):
        shutil.copy(folder / "raw" / kind.format(name), folder / "raw" / kind.format("New_1"))
    changed = [line.replace(name, "New_1") for line in names]
    (folder / "raw/annotations/test.txt").write_text("\n".join(changed) + "\n")
    is_planned, (line,) = plan(folder)
    assert is_planned
    assert "4 pictures changed (2 added, 2 removed): annotations/trimaps/New_1.png, images/New_1.jpg, " in line


def test_another_split_of_the_same_files_is_said(folder):
    lists = [folder / f"raw/annotations/{name}.txt" for name in ("trainval", "test")]
    first, second = (path.read_text() for path in lists)
    lists[0].write_text(second)
    lists[1].write_text(first)
    is_planned, (line,) = plan(folder)
    assert is_planned
    assert "the groups or the official split changed" in line


def test_settings_of_the_data_still_make_it_again(folder):
    assert plan(folder, limit=20)[0]


@pytest.mark.parametrize(("root", "message"), [("nowhere", "'nowhere' is no folder"), ("raw/images", "missing")])
def test_a_root_without_pictures_is_refused_in_the_plan(folder, root, message):
    done = run_snakemake(folder, "--dry-run", DATASET, overrides=overrides(root))
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("config: ")]
    assert "dataset.root: " in line
    assert message in line
    assert "Traceback" not in done.stderr


def test_lists_of_names_count_by_what_they_hold(folder):
    names = sorted(path.stem for path in (folder / "raw/images").glob("*.jpg"))
    parts = {"train": names[:8], "validation": names[8:12], "test": names[12:]}
    for split, part in parts.items():
        (folder / f"{split}.txt").write_text("\n".join(part))
    changes = {"split": {"method": "lists", "lists": {split: f"{split}.txt" for split in parts}}}
    done = run_snakemake(folder, DATASET, overrides=overrides("raw", **changes))
    assert done.returncode == 0, done.stderr
    (folder / "lists").mkdir()
    for split in parts:
        shutil.copy(folder / f"{split}.txt", folder / "lists")
    moved = {"split": {"method": "lists", "lists": {split: f"lists/{split}.txt" for split in parts}}}
    assert plan(folder, **moved) == (False, [])
    (folder / "lists/train.txt").write_text("\n".join(names[1:8]))
    assert plan(folder, **moved)[0]
    (folder / "lists/train.txt").unlink()
    done = run_snakemake(folder, "--dry-run", DATASET, overrides=overrides("raw", **moved))
    assert done.returncode == 1
    assert "dataset.split.lists.train: 'lists/train.txt' is no file" in done.stderr
