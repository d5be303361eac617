"""A training step whose kernels a GPU repeats by itself: at small batches, launching them one by one takes longer.

A CUDA graph repeats the same kernels on the same addresses. So a batch is copied to where the recorded one lay, and
all that changes from step to step is in tensors: weights, statistics, optimiser state, learning rate, the generator's
state. Nothing in a step may ask the GPU for a value.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

Step = Callable[..., torch.Tensor]  # images, labels and weights of a batch -> its loss, a scalar on the device
WARM_UP = 3  # steps of a shape before it is recorded: libraries choose algorithms and allocate their workspaces


@dataclass(frozen=True)
class Recording:
    """One recorded step: where its batch lies, what repeats it, where its loss lies then."""

    batch: tuple[torch.Tensor, ...]
    repeat: Callable[[], None]
    loss: torch.Tensor


Record = Callable[[Step, tuple[torch.Tensor, ...]], Recording]


class ReplayedStep:
    """Takes the same steps as `step`; from the fourth of each shape of batch on, by repeating a recording.

    Its record without CUDA graphs (`record_call`) calls the step where a graph would repeat it, on the same tensors.
    """

    def __init__(self, step: Step, record: Record) -> None:
        self.step, self.record = step, record
        self.taken: Counter[tuple[torch.Size, ...]] = Counter()
        self.recordings: dict[tuple[torch.Size, ...], Recording] = {}

    def __call__(self, *batch: torch.Tensor) -> torch.Tensor:
        """Take a step; return its loss."""
        shape = tuple(tensor.shape for tensor in batch)
        self.taken[shape] += 1
        if self.taken[shape] <= WARM_UP:
            return self.step(*batch)
        if shape not in self.recordings:
            self.recordings[shape] = self.record(self.step, tuple(tensor.clone() for tensor in batch))
        recording = self.recordings[shape]
        for held, given in zip(recording.batch, batch, strict=True):
            held.copy_(given)
        recording.repeat()
        return recording.loss.clone()


def record_call(step: Step, batch: tuple[torch.Tensor, ...]) -> Recording:
    """Return a recording that calls the step: what a graph does, without one."""
    loss = torch.empty((), device=batch[0].device)

    def repeat() -> None:
        loss.copy_(step(*batch))

    return Recording(batch, repeat, loss)


class GraphRecorder:
    """Records steps as CUDA graphs, which share their memory: no two of them ever run at once."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step, batch: tuple[torch.Tensor, ...]) -> Recording:
        """Record a step; it is not taken."""
        graph = torch.cuda.CUDAGraph()
        # Another thread may copy the next batch meanwhile; only what this one does is recorded.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            loss = step(*batch)
        return Recording(batch, graph.replay, loss)
