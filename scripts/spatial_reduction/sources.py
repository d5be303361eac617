"""List the (image, labels) pairs of each supported folder layout."""

from collections import defaultdict
from pathlib import Path

from spatial_reduction.decoding import Pair
from spatial_reduction.errors import InputError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}


def list_oxford_pet(root: Path) -> list[Pair]:
    """List the pairs of the Oxford-IIIT Pet layout, sorted by name.

    The names are those of annotations/trainval.txt and annotations/test.txt (lines "NAME class species
    breed"), so stray files such as `._NAME.png` or .mat files in the folders play no part. The group of a
    pair is its breed.
    """
    pairs = {}
    for official in ("trainval", "test"):
        listing = root / "annotations" / f"{official}.txt"
        if not listing.is_file():
            raise InputError(
                f"{listing}: missing; dataset.root must hold images/ and annotations/{{trainval,test}}.txt"
            )
        for line in listing.read_text().splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            name = line.split()[0]
            if name in pairs:
                raise InputError(f"{listing}: {name} is listed twice")
            pairs[name] = Pair(
                name=name,
                image=root / "images" / f"{name}.jpg",
                labels=root / "annotations" / "trimaps" / f"{name}.png",
                group=name.rsplit("_", 1)[0],
                official=official,
            )
    return [pairs[name] for name in sorted(pairs)]


def list_folder(root: Path) -> list[Pair]:
    """List images/STEM.* with masks/STEM.* below `root`, sorted by stem."""
    images, masks = _by_stem(root / "images"), _by_stem(root / "masks")
    lonely = sorted(images.keys() ^ masks.keys())
    if lonely:
        raise InputError(
            f"{root}: {len(lonely)} files have no partner of equal stem in images/ and masks/: {lonely[:10]}"
        )
    return [Pair(name=stem, image=images[stem], labels=masks[stem]) for stem in sorted(images)]


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: missing; dataset.root must hold images/ and masks/")
    files = defaultdict(list)
    for path in folder.iterdir():
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            files[path.stem].append(path)
    doubled = sorted(stem for stem, paths in files.items() if len(paths) > 1)
    if doubled:
        raise InputError(f"{folder}: more than one file has the stem {doubled[:10]}")
    return {stem: paths[0] for stem, paths in files.items()}


LAYOUTS = {"synthetic": list_oxford_pet, "oxford_pet": list_oxford_pet, "folder": list_folder}


def list_pairs(source: str, root: str | Path, limit: int | None) -> list[Pair]:
    """Return the pairs of a data source in sorted order, the first `limit` of them if given.

    Raises:
        InputError: the folder is not of the source's layout, or holds no pair.
    """
    pairs = LAYOUTS[source](Path(root))[:limit]
    if not pairs:
        raise InputError(f"{root}: holds no image for the source {source}")
    return pairs
