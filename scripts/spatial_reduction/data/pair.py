"""One image and its label picture, as a layout names them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """One image, its label picture, the group it is stratified by, and its official split if it has one.

    `page` is the place of both pictures in their files if these are stacks of many.
    """

    name: str
    image: Path
    labels: Path
    group: str = ""
    official: str = ""
    page: int | None = None
