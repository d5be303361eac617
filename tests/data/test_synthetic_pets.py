import numpy as np
import pytest
from PIL import Image

from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.data.synthetic_pets import draw_synthetic_pets

BREEDS = {"Plain_cat", "plain_dog", "Striped_cat", "striped_dog", "Spotted_cat", "spotted_dog"}
PET, BACKGROUND, BORDER = 1, 2, 3


def drawn(folder, images=12, test_share=50, seed=0):
    draw_synthetic_pets(folder, images=images, side=16, test_share=test_share, seed=seed)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pictures(files):
    return {name: content for name, content in files.items() if not name.endswith(".txt")}


@pytest.fixture(scope="module")
def trimaps(pets):
    return [np.asarray(Image.open(pair.labels)) for pair in list_pairs("synthetic", pets, None)]


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    assert drawn(tmp_path / "a", seed=5) == drawn(tmp_path / "b", seed=5)


def test_another_seed_gives_other_pictures_of_the_same_names(tmp_path):
    first, second = pictures(drawn(tmp_path / "a", seed=5)), pictures(drawn(tmp_path / "b", seed=6))
    assert first.keys() == second.keys()
    assert not any(first[name] == second[name] for name in first if name.endswith(".jpg"))


def test_more_images_leave_the_first_ones_as_they_are(tmp_path):
    few, many = pictures(drawn(tmp_path / "a", images=8)), pictures(drawn(tmp_path / "b", images=20))
    assert len(many) == 2 * 20
    assert few == {name: many[name] for name in few}


def test_the_test_share_leaves_the_pictures_as_they_are(tmp_path):
    assert pictures(drawn(tmp_path / "a", test_share=20)) == pictures(drawn(tmp_path / "b", test_share=70))


def test_drawing_again_replaces_the_whole_folder(tmp_path):
    drawn(tmp_path / "pets", images=12)
    assert len(pictures(drawn(tmp_path / "pets", images=6))) == 2 * 6
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_the_folder_is_of_the_oxford_layout(pets):
    pairs = list_pairs("oxford_pet", pets, None)
    assert len(pairs) == 24
    assert {pair.group for pair in pairs} == BREEDS
    for pair in pairs:
        with Image.open(pair.image) as image, Image.open(pair.labels) as trimap:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
            assert (trimap.format, trimap.mode, trimap.size) == ("PNG", "L", (32, 32))


def test_list_lines_say_breed_and_species_as_the_release_s_do(pets):
    lines = (pets / "annotations" / "trainval.txt").read_text().splitlines()
    assert "Plain_cat_1 1 1 1" in lines
    assert "spotted_dog_1 6 2 3" in lines
    for line in lines:
        name, _, species, _ = line.split()
        assert name[0].isupper() == (species == "1")


@pytest.mark.parametrize(("share", "of_ten"), [(30, 3), (50, 5), (29, 2), (1, 0), (99, 9)])
def test_the_test_share_is_exact_for_every_breed(tmp_path, share, of_ten):
    drawn(tmp_path / "pets", images=60, test_share=share)
    pairs = list_pairs("synthetic", tmp_path / "pets", None)
    for breed in BREEDS:
        members = [pair.official for pair in pairs if pair.group == breed]
        assert (len(members), members.count("test")) == (10, of_ten)


def test_every_trimap_holds_all_three_values(trimaps):
    assert all(np.unique(trimap).tolist() == [PET, BACKGROUND, BORDER] for trimap in trimaps)


def test_the_border_separates_pet_from_background(trimaps):
    for trimap in trimaps:
        for first, second in ((trimap[1:], trimap[:-1]), (trimap[:, 1:], trimap[:, :-1])):
            assert not ((first == PET) & (second == BACKGROUND)).any()
            assert not ((first == BACKGROUND) & (second == PET)).any()


@pytest.mark.parametrize(("spread", "most", "least"), [(0, 10, 0), (40, 30, 12)])
def test_animals_stand_as_far_from_the_middle_as_is_asked_for(tmp_path, spread, most, least):
    """A place drawn evenly within 40 % on both sides of the middle has a standard deviation of 80 / sqrt(12) = 23 %."""
    draw_synthetic_pets(tmp_path / "pets", images=48, side=32, test_share=50, seed=0, spread=spread)
    animals = [np.asarray(Image.open(path)) == PET for path in (tmp_path / "pets").rglob("*.png")]
    middles = np.array([np.argwhere(animal).mean(axis=0) for animal in animals if animal.any()])
    deviation = 100 * middles.std(axis=0) / 32
    assert (least < deviation).all()
    assert (deviation < most).all()
