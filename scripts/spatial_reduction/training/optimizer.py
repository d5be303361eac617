"""Optimisers and the learning-rate schedule, with a state that is plain tensors and numbers.

The arithmetic is PyTorch's own, through its functional kernels. Its optimiser classes import the compiler and
Triton at the first step, which took 1.3 to 1.8 s of each training job (half of what the demo's trainings compute).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

BETAS, EPSILON = (0.9, 0.999), 1e-8  # Kingma and Ba 2015, arXiv 1412.6980


class Optimizer:
    """Adam, AdamW or SGD with momentum over a list of parameters.

    Attributes:
        state: tensors by name, to be saved and restored as they are.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], training: Mapping[str, Any]) -> None:
        self.parameters = list(parameters)
        self.kind, self.momentum = training["optimizer"], training["momentum"]
        self.weight_decay = training["weight_decay"]
        # One kernel, not ten per parameter: of the 16 ms of a step of the demo on the CPU, 0.7 ms instead of 2.1.
        self.is_fused = self.parameters[0].device.type in ("cpu", "cuda")
        self._rate: float | torch.Tensor = 0.0
        if self.parameters[0].is_cuda:  # in a tensor, as a recorded step (see `cuda_graph`) repeats its numbers
            self._rate = torch.zeros((), device=self.parameters[0].device)
        self.learning_rate = training["learning_rate"]
        self.state: dict[str, torch.Tensor] = {}
        moments = ("momentum",) if self.kind == "sgd" else ("first_moment", "second_moment")
        for index, parameter in enumerate(self.parameters):
            for name in moments:
                self.state[f"{name}/{index}"] = torch.zeros_like(parameter)
            self.state[f"step/{index}"] = torch.zeros((), device=parameter.device if self.is_fused else "cpu")

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._learning_rate = rate
        self._rate = self._rate.fill_(rate) if isinstance(self._rate, torch.Tensor) else rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients."""
        # Parameters that the logits do not depend on, or that are frozen, have no gradient.
        used = [index for index, parameter in enumerate(self.parameters) if parameter.grad is not None]
        parameters = [self.parameters[index] for index in used]
        gradients = [parameter.grad for parameter in parameters]
        if self.kind == "sgd":
            # From momentum 0, the first step's buffer is the gradient itself, as in PyTorch.
            sgd(
                parameters,
                gradients,
                self._of(used, "momentum"),
                fused=self.is_fused,
                weight_decay=self.weight_decay,
                momentum=self.momentum,
                lr=self._rate,
                dampening=0,
                nesterov=False,
                maximize=False,
            )
            return
        {"adam": adam, "adamw": adamw}[self.kind](
            parameters,
            gradients,
            self._of(used, "first_moment"),
            self._of(used, "second_moment"),
            [],
            self._of(used, "step"),
            fused=self.is_fused,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self._rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore `state`, tensor by tensor."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])

    def _of(self, used: Sequence[int], name: str) -> list[torch.Tensor]:
        return [self.state[f"{name}/{index}"] for index in used]


@dataclass
class Plateau:
    """Lower the learning rate when a loss stops falling: PyTorch's ReduceLROnPlateau with its default threshold.

    Attributes:
        best: lowest loss so far.
        waited: epochs since it fell by more than 0.01 %.
    """

    factor: float
    patience: int
    best: float = float("inf")
    waited: int = 0

    def next_rate(self, loss: float, learning_rate: float) -> float:
        """Return the learning rate of the epoch that follows one with this loss."""
        if loss < self.best * (1 - 1e-4):
            self.best, self.waited = loss, 0
            return learning_rate
        self.waited += 1
        if self.waited <= self.patience:
            return learning_rate
        self.waited = 0
        lowered = learning_rate * self.factor
        return lowered if learning_rate - lowered > 1e-8 else learning_rate
