"""Training steps as CUDA graphs: at small batches, launching kernels one by one takes longer than running them.

A CUDA graph repeats the same kernels on the same addresses. So a batch is copied to where the recorded one lay, and
all that changes from step to step is in tensors: weights, statistics, optimiser state, learning rate, the generator's
state. Nothing in a step may ask the GPU for a value.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from spatial_reduction.runtime.log import say

Step = Callable[..., torch.Tensor]  # images, labels and weights of a batch -> its loss, a scalar on the device
WARM_UP = 3  # steps of a shape before it is recorded: libraries choose algorithms and allocate their workspaces


@dataclass(frozen=True)
class Recording:
    """One recorded step: where its batch lies, what repeats it, where its loss lies then."""

    batch: tuple[torch.Tensor, ...]
    repeat: Callable[[], None]
    loss: torch.Tensor


class Recorder(Protocol):
    """How steps are recorded."""

    def launch(self, step: Step, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Take a step, kernel by kernel, where `record` will record it; return its loss."""

    def record(self, step: Step, batch: tuple[torch.Tensor, ...]) -> Recording:
        """Record a step; it is not taken.

        Raises:
            RuntimeError: it cannot be recorded; weights, optimiser and generator are as before.
        """


class ReplayedSteps:
    """Takes steps; from the fourth of each shape of batch on, by repeating a recording.

    Where a recording fails, all steps are launched from there on, kernel by kernel: the same numbers, more slowly. It
    keeps no step: what holds it and is held by its steps would be a cycle, and keep a training's images in memory.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder, self.has_failed = recorder, False
        self.taken: Counter[tuple[torch.Size, ...]] = Counter()
        self.recordings: dict[tuple[torch.Size, ...], Recording] = {}

    def take(self, step: Step, *batch: torch.Tensor) -> torch.Tensor:
        """Take a step; return its loss."""
        shape = tuple(tensor.shape for tensor in batch)
        self.taken[shape] += 1
        if self.has_failed:
            return step(*batch)
        if self.taken[shape] <= WARM_UP:
            return self.recorder.launch(step, batch)
        if shape not in self.recordings:
            try:
                self.recordings[shape] = self.recorder.record(step, tuple(tensor.clone() for tensor in batch))
            except RuntimeError as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                say(f"a training step could not be recorded as a CUDA graph ({reason}): steps are launched one by one")
                self.has_failed = True
                self.recordings.clear()
                return step(*batch)
        recording = self.recordings[shape]
        for held, given in zip(recording.batch, batch, strict=True):
            held.copy_(given)
        recording.repeat()
        return recording.loss.clone()


class CallRecorder:
    """Calls a step where a graph would repeat it, on the same tensors: what a graph does, without one."""

    def launch(self, step: Step, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Recorder`."""
        return step(*batch)

    def record(self, step: Step, batch: tuple[torch.Tensor, ...]) -> Recording:
        """See `Recorder`."""
        loss = torch.empty((), device=batch[0].device)

        def repeat() -> None:
            loss.copy_(step(*batch))

        return Recording(batch, repeat, loss)


class GraphRecorder:
    """Records steps as CUDA graphs, which share their memory: no two of them ever run at once.

    Steps before the recording run on its stream: what a library or the gradients' accumulation sets up for a stream
    at the first use is then there.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)

    def launch(self, step: Step, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Recorder`."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            loss = step(*batch)
        current.wait_stream(self.stream)
        return loss

    def record(self, step: Step, batch: tuple[torch.Tensor, ...]) -> Recording:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        before = generator.clone_state()
        try:
            with without_collection(), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                loss = step(*batch)
        except RuntimeError:
            generator.graphsafe_set_state(before)  # else it stays in a recording that never ends
            raise
        return Recording(batch, graph.replay, loss)


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect garbage before a recording, not during it: the recording would claim the memory that is freed."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
