"""A network of the user's own: any class of torch modules that maps images to logits of their size."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import nn

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.receptive_field import measure_receptive_radius
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.own_code import load_object, mistakes_told

_TRUSTED: set[tuple[str | None, str]] = set()


def trust_network(model: Mapping[str, Any] | None) -> None:
    """Let this process run the code that a section `model` names, if it names any.

    A model file says what its network is; that alone runs nothing that the job's configuration does not name as well.
    """
    if model and model["name"] == "file":
        _TRUSTED.add((model["path"], model["class"]))


class OwnNetwork(Network):
    """A class of the user's, made into a network.

    It is called with `in_channels`, `classes` and the `arguments` of the configuration; its call maps float
    (N, in_channels, H, W) in [0, 1] to logits (N, classes, H, W).

    Args:
        in_channels: channels of the images.
        classes: number of classes.
        section: further keys of the section `model`: `path` of a file or None for an installed package, `class` (in a
            package `package:Class`), `arguments`, `stride`, `bottleneck`.

    Raises:
        InputError: the class fails, or is no such network.
    """

    def __init__(self, in_channels: int, classes: int, **section: Any) -> None:
        super().__init__()
        path, name = section["path"], section["class"]
        place = f"{path}, {name}" if path else name
        if (path, name) not in _TRUSTED:
            raise InputError(f"its network is code ({place}) that this configuration does not name")
        self.called, self.stride, self.layer = path or name, section["stride"], section["bottleneck"]
        kind = load_object(path, name)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise InputError(f"{place} is no class of torch.nn.Module")
        # On the CPU wherever it is made: what is no weight is not in a model's file and must be real.
        with torch.device("cpu"), mistakes_told(self.called):
            self.network = kind(in_channels=in_channels, classes=classes, **section["arguments"])
        self._try_out(in_channels, classes)

    def _try_out(self, in_channels: int, classes: int) -> None:
        """Refuse a network that does not answer as it must."""
        is_training, side = self.network.training, 2 * self.stride
        images = torch.full((1, in_channels, side, side), 0.5, device="cpu")
        with torch.no_grad(), mistakes_told(self.called):
            answer = self.network.eval()(images)
        self.network.train(is_training)
        found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        expected = (1, classes, side, side)
        if found != expected:
            raise InputError(f"{self.called}: images {tuple(images.shape)} give {found}, expected logits {expected}")

    @property
    def bottleneck(self) -> nn.Module:
        """Return the layer that the configuration names.

        Raises:
            InputError: it names none, or one that is not there.
        """
        layers = dict(self.network.named_modules())
        if not self.layer or self.layer not in layers:
            known = ", ".join(name for name in layers if name and name.count(".") < 2)
            asked = f"{self.layer!r} is no layer" if self.layer else "names no layer whose features could be weighed"
            raise InputError(f"model.bottleneck: {asked}; {self.called} has {known}")
        return layers[self.layer]

    @cached_property
    def receptive_radius(self) -> int:
        """Return how far a logit sees; measured."""
        return measure_receptive_radius(self)

    @property
    def period(self) -> int:
        """Return the stride."""
        return self.stride

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float (N, C, H, W) in [0, 1], H and W divisible by `stride`, to logits (N, classes, H, W)."""
        return self.network(images)
