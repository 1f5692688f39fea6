"""The cost of an evaluation: time, memory, parameters, and steps of the solver."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from videogcrf_det.evaluation.record import COST, write_metrics
from videogcrf_det.gcrf.inference import counted_iterations
from videogcrf_det.memory import forget_peak_memory, peak_memory

MEBI = 2**20


@dataclass
class Cost:
    """The cost of the inference of videos so far in this process."""

    parameters: int
    device: torch.device
    seconds: float = 0.0
    frames: int = 0
    iterations: list[int] = field(default_factory=list)  # of conjugate gradients, by column

    def metrics(self) -> dict[str, float | None]:
        """By name; None is what there is nothing of.

        ``seconds_per_frame`` counts reading the frames as well. ``peak_memory_mib`` is that of the
        GPU, or of this process, in the evaluation, with what a training before it still holds,
        and with all that it has held where ``forget_peak_memory`` cannot do its work.
        """
        count = len(self.iterations)
        return {
            "seconds_per_frame": self.seconds / self.frames if self.frames else None,
            "peak_memory_mib": self._peak_memory(),
            "parameters": self.parameters,
            "cg_iterations_mean": sum(self.iterations) / count if count else None,
            "cg_iterations_worst": max(self.iterations, default=None),
        }

    def sentence(self) -> str:
        """The time, for the log."""
        each = f", {1000 * self.seconds / self.frames:.0f} ms each" if self.frames else ""
        return (
            f"{self.frames} frames in {self.seconds:.1f} s{each}: reading, the model, and what it "
            "waits for, without the measures"
        )

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``cost.json`` into a folder."""
        write_metrics(Path(folder, COST), self.metrics())

    def _peak_memory(self) -> float | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / MEBI
        peak = peak_memory()
        return None if peak is None else peak / MEBI

    def timed(self, outputs: Iterable[Any]) -> Iterator[Any]:
        """The outputs for a video, frame by frame, while time is taken."""
        iterator = iter(outputs)
        while True:
            start = time.perf_counter()
            try:
                output = next(iterator)
            except StopIteration:
                return
            finally:
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)
                self.seconds += time.perf_counter() - start
            self.frames += 1
            yield output


@contextlib.contextmanager
def measure_cost(model: nn.Module) -> Iterator[Cost]:
    """Measure what ``model``, which gives an iterator for each video, takes in the ``with`` block.

    Args:
        model: as it is, not wrapped for several processes.
    """
    # a model that is given all that it needs has buffers alone
    first = next(chain(model.parameters(), model.buffers()))
    cost = Cost(sum(p.numel() for p in model.parameters()), first.device)
    forget_peak_memory()
    if first.is_cuda:
        torch.cuda.reset_peak_memory_stats(first.device)
    hook = model.register_forward_hook(
        lambda _module, _inputs, videos: [cost.timed(outputs) for outputs in videos]
    )
    try:
        with counted_iterations(cost.iterations):
            yield cost
    finally:
        hook.remove()
