"""List the (image, labels) pairs of each supported folder layout."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from spatial_reduction.data.pair import Pair
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.log import say

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif"}
TRUTHS = {"gold": "GT", "silver": "ST"}  # of the Cell Tracking Challenge


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
        for line in read_lines(listing):
            if not line.strip() or line.startswith("#"):
                continue
            name = line.split()[0]
            if "/" in name:
                raise InputError(f"{listing}: {name} is no name, it leads to another folder")
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


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file without white space at their ends, in Unicode's composed form (NFC).

    A file of UTF-8 may begin with a byte order mark and one of UTF-16 must, as Windows writes them; lines end in LF, CR
    LF or CR.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (UTF-8)") from error
    return [normal_name(line.strip()) for line in re.split(r"\r\n|\r|\n", text)]


def normal_name(name: str) -> str:
    """Return a name in Unicode's composed form: macOS writes an umlaut as two characters, others as one.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name!a}: the name of a file is not UTF-8; rename it") from error
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Folders:
    """Where pictures and their labels lie below the root: images/STEM + image_suffix, labels/STEM + label_suffix."""

    images: str
    labels: str
    image_suffix: str = ""
    label_suffix: str = ""


def list_folder(root: Path, layout: Mapping[str, str] | None = None) -> list[Pair]:
    """List images/STEM.* with masks/STEM.* below `root`, or the folders and endings of `layout`, sorted by stem."""
    folders = Folders(**layout) if layout else Folders("images", "masks")
    return [Pair(stem, *paths) for stem, paths in sorted(_paired_files(root, folders).items())]


def list_instances(root: Path, layout: Mapping[str, str] | None = None) -> list[Pair]:
    """List images/STEM.* with instances/STEM.* below `root`, or as `list_folder` does, sorted by stem."""
    return list_folder(root, layout or asdict(Folders("images", "instances")))


def list_isbi2012(root: Path) -> list[Pair]:
    """List the slices of the ISBI 2012 challenge (electron microscopy) in order of their number.

    They are the pages of train-volume.tif and train-labels.tif, or train/image/N.* with train/label/N.*. Both forms
    give the same names, slice_00 to slice_29, whose alphabetical order is that of the slices.
    """
    stacks = root / "train-volume.tif", root / "train-labels.tif"
    if any(path.exists() for path in stacks):
        from spatial_reduction.data.picture_file import count_pages  # imported here: a plan decodes no picture

        counts = [count_pages(path) for path in stacks]
        if counts[0] != counts[1]:
            raise InputError(f"{root}: train-volume.tif holds {counts[0]} slices, train-labels.tif {counts[1]}")
        slices = {page: (*stacks, "", "", page) for page in range(counts[0])}
    else:
        paired = _paired_files(root, Folders("train/image", "train/label"))
        unnumbered = sorted(stem for stem in paired if not stem.isdecimal())
        if unnumbered:
            raise InputError(
                f"{root}/train/image: files must be named by the number of their slice, not {unnumbered[:10]}"
            )
        slices = {int(stem): paths for stem, paths in paired.items()}
        if len(slices) < len(paired):
            raise InputError(f"{root}/train/image: two files have the same number; there are {sorted(paired)[:10]}")
    digits = len(str(max(slices, default=0)))
    return [Pair(f"slice_{number:0{digits}}", *slices[number]) for number in sorted(slices)]


def list_cell_tracking(root: Path, truth: str | None = None) -> list[Pair]:
    """List the labelled frames of the Cell Tracking Challenge's two-dimensional sequences 01 and 02.

    Frame 01/t000.tif belongs to 01_GT/SEG/man_seg000.tif (`truth` gold) or 01_ST/SEG/man_seg000.tif (silver); without
    `truth` to the gold one where a sequence has any, else to the silver one. Frames without a label picture are no
    pairs. The group is the sequence; officially 01 is for training and validation, 02 for the test.
    """
    sequences = [name for name in ("01", "02") if (root / name).is_dir()]
    if not sequences:
        raise InputError(f"{root}: dataset.root must hold 01/ and 01_GT/SEG/ (or 01_ST/SEG/), or the same of 02")
    return [pair for sequence in sequences for pair in _list_sequence(root, sequence, truth)]


def _list_sequence(root: Path, sequence: str, truth: str | None) -> list[Pair]:
    frames = _numbered(root / sequence, "t")
    gold, silver = (root / f"{sequence}_{name}" / "SEG" for name in TRUTHS.values())
    if truth is None:
        folder = gold if gold.is_dir() and _numbered(gold, "man_seg") else silver if silver.is_dir() else gold
    else:
        folder = {"gold": gold, "silver": silver}[truth]
    labels = _numbered(folder, "man_seg")
    lonely = [labels[number].name for number in sorted(labels.keys() - frames.keys())]
    if lonely:
        raise InputError(f"{folder}: {len(lonely)} label pictures have no frame in {sequence}/: {lonely[:10]}")
    official = "trainval" if sequence == "01" else "test"
    return [
        Pair(f"{sequence}_{frames[number].stem}", frames[number], labels[number], sequence, official)
        for number in sorted(labels)
    ]


def _numbered(folder: Path, prefix: str) -> dict[int, Path]:
    """Return {number: path} of the pictures PREFIXnumber.tif (or .TIF, .png, ...) of a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: missing")
    names = [path.name for path in _pictures(folder) if path.name.lower().startswith(prefix)]
    volumes = [name for name in names if name.lower().startswith(f"{prefix}_")]
    if volumes:
        raise InputError(
            f"{folder}: {volumes[0]} labels one slice of a volume; only two-dimensional sequences are read"
        )
    matches = [match for name in names if (match := re.fullmatch(rf"{prefix}(\d+)\.\w+", name, re.IGNORECASE))]
    numbered = {int(match[1]): folder / match[0] for match in matches}
    if len(numbered) < len(matches):
        raise InputError(f"{folder}: two files have the same number; there are {[match[0] for match in matches][:10]}")
    return numbered


def _paired_files(root: Path, folders: Folders) -> dict[str, tuple[Path, Path]]:
    """Return {stem: (image, label picture)} of two folders, or of one folder, that hold the same stems."""
    for folder in (folders.images, folders.labels):
        if not (root / folder).is_dir():
            raise InputError(
                f"{root / folder}: missing; dataset.root must hold {folders.images}/ and {folders.labels}/"
            )
    pictures, masks = _pictures(root / folders.images), _pictures(root / folders.labels)
    if (root / folders.images).samefile(root / folders.labels):  # then the endings alone tell them apart
        masks = [path for path in masks if _is_label(path, folders)]
        pictures = [path for path in pictures if not _is_label(path, folders)]
    found = _by_stem(pictures, folders.image_suffix), _by_stem(masks, folders.label_suffix)
    missing = [
        _missing(found[0].keys() - found[1].keys(), folders.labels, folders.label_suffix, folders.images),
        _missing(found[1].keys() - found[0].keys(), folders.images, folders.image_suffix, folders.labels),
    ]
    if any(missing):
        raise InputError(f"{root}: {'; '.join(filter(None, missing))}{_ending_of(found)}")
    return {stem: (path, found[1][stem]) for stem, path in found[0].items()}


def _missing(stems: Set[str], folder: str, suffix: str, other: str) -> str:
    """Return which files a folder lacks, "" if none: those of these stems, of which `other` holds some."""
    names = [f"{stem}{suffix}.*" for stem in sorted(stems)[:10]]
    more = f" and {len(stems) - 10} more" if len(stems) > 10 else ""
    return f"{folder}/ lacks {', '.join(names)}{more}, whose counterparts are in {other}/" if stems else ""


def _is_label(path: Path, folders: Folders) -> bool:
    """Tell labels from pictures in one folder: by the longer ending, as the other may be none."""
    endings = sorted((folders.image_suffix, folders.label_suffix), key=len, reverse=True)
    own = next((ending for ending in endings if normal_name(path.stem).endswith(ending)), None)
    return own == folders.label_suffix


def _ending_of(found: Sequence[Mapping[str, Path]]) -> str:
    """Name the key to set where the labels are named as the pictures with one ending more; else nothing."""
    images, labels = found
    pairs = list(zip(sorted(images), sorted(labels), strict=False))
    endings = {label.removeprefix(name) for name, label in pairs}
    if len(endings) == 1 and len(images) == len(labels) and all(label.startswith(name) for name, label in pairs):
        return f"; if the names of labels end with {endings.pop()!r}, say so in dataset.layout.label_suffix"
    return ""


def _by_stem(pictures: Sequence[Path], ending: str) -> dict[str, Path]:
    """Return {stem without the ending: path} of pictures that all have it."""
    others = [path.name for path in pictures if not normal_name(path.stem).endswith(ending)]
    if others:
        raise InputError(f"{pictures[0].parent}: {len(others)} pictures do not end with {ending!r}: {others[:10]}")
    files = defaultdict(list)
    for path in pictures:
        files[normal_name(path.stem).removesuffix(ending)].append(path)
    doubled = sorted(stem for stem, paths in files.items() if len(paths) > 1)
    if doubled:
        raise InputError(f"{pictures[0].parent}: more than one file has the stem {doubled[:10]}")
    return {stem: paths[0] for stem, paths in files.items()}


def _pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder by their suffix, sorted; name the files that are none, but for hidden ones."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    others = [path.name for path in files if path.suffix.lower() not in IMAGE_SUFFIXES and not path.is_dir()]
    if others:
        say(f"{folder}: {len(others)} files are not read, for their suffix is none of a picture: {others[:10]}")
    return [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]


LAYOUTS = {
    "synthetic": list_oxford_pet,
    "oxford_pet": list_oxford_pet,
    "folder": list_folder,
    "instances": list_instances,
    "isbi2012": list_isbi2012,
    "cell_tracking": list_cell_tracking,
}


def list_pairs(
    source: str,
    root: str | Path,
    limit: int | None,
    truth: str | None = None,
    layout: Mapping[str, str] | None = None,
) -> list[Pair]:
    """Return the pairs of a data source in sorted order, the first `limit` of them if given.

    Args:
        truth: "gold" or "silver", of the source cell_tracking alone.
        layout: fields of `Folders`, of the sources folder and instances alone.

    Raises:
        InputError: the folder is not of the source's layout, or holds no pair; another folder nearby that would do is
            named.
    """
    options = {key: value for key, value in {"truth": truth, "layout": layout}.items() if value}
    list_source = partial(LAYOUTS[source], **options)
    try:
        pairs = list_source(Path(root))[:limit]
        if not pairs:
            raise InputError(f"{root}: holds no image for the source {source}")
    except InputError as error:
        nearby = next((folder for folder in _nearby(Path(root)) if _holds_pairs(list_source, folder)), None)
        raise InputError(f"{error}" + (f"; did you mean dataset.root: {nearby}?" if nearby else "")) from error
    return pairs


def _nearby(root: Path) -> Iterator[Path]:
    """Yield the folders one and two levels above, and one and two levels below."""
    yield from list(root.resolve().parents)[:2]
    below = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    yield from below
    for folder in below:
        yield from sorted(path for path in folder.iterdir() if path.is_dir())


def _holds_pairs(list_source: Callable[[Path], list[Pair]], folder: Path) -> bool:
    try:
        return bool(list_source(folder))
    except (InputError, OSError):
        return False
