"""Time and memory over the length of a clip and the size of its frames."""

import contextlib
import multiprocessing.pool
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from benchmarks.suites import (
    CONDITIONS,
    FEATURE_CELLS,
    RESIDUAL,
    Options,
    Row,
    ours,
    seconds_of,
)
from benchmarks.systems import System
from videogcrf_det.memory import forget_peak_memory, peak_memory

# names of Fig. 4 and their distances in frames
NEIGHBOURHOODS: dict[str, tuple[int, ...]] = {
    "fc": (),
    "2": (1,),
    "4": (1, 2),
    "6ms": (1, 2, 4),
}


def growth(options: Options) -> Iterable[Row]:
    """Time and memory, forward and backward, as clips get longer and maps larger."""
    cases = [
        ("frames", frames, FEATURE_CELLS, neighbourhood)
        for frames in (2, 4, 8, 16, 32, 64)
        for neighbourhood in NEIGHBOURHOODS
    ]
    cases += [("positions", 4, cells, "fc") for cells in (405, 1620, 6480, 25920)]
    systems = {
        case: growing_system(options.shrink, *case[1:], str(options.device)) for case in cases
    }
    times = options.time(
        {str(case): ours(system, "direct", RESIDUAL) for case, system in systems.items()}
    )
    with memory_process() as process:
        for case, system in systems.items():
            if options.device.type == "cpu":
                memory = process.apply(resident_memory, (options.shrink, *case[1:], "cpu"))
            else:
                memory = _allocated(system)
            axis, frames, cells, neighbourhood = case
            yield {
                "axis": axis,
                "frames": frames,
                "positions": cells,
                "neighbourhood": neighbourhood,
                "memory": memory,
                **seconds_of(times[str(case)]),
            }


@contextlib.contextmanager
def memory_process() -> Iterator[multiprocessing.pool.Pool]:
    """A process that gives memory back to the system as soon as it is free."""
    name = "MALLOC_MMAP_THRESHOLD_"  # glibc's; read when the process starts
    before = os.environ.get(name)
    os.environ[name] = "65536"
    try:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            yield process
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def growing_system(shrink: int, frames: int, cells: int, neighbourhood: str, device: str) -> System:
    options = Options(device=torch.device(device), shrink=shrink)
    condition = CONDITIONS["well"]
    distances = NEIGHBOURHOODS[neighbourhood]
    return options.system(frames, cells, 256, condition=condition, neighbourhood=distances)


def _allocated(system: System) -> int:
    """Bytes that forward and backward allocate on a GPU."""
    device = system.unary.device
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    ours(system, "direct", RESIDUAL)(lambda _: None)
    return torch.cuda.max_memory_allocated(device) - before


def resident_memory(*case: Any) -> int | None:
    """Bytes by which forward and backward raise what a process holds at most; its inputs not.

    None where that cannot be told apart from what making the inputs took.
    """
    system = growing_system(*case)
    if not forget_peak_memory():
        return None
    before = peak_memory()
    ours(system, "direct", RESIDUAL)(lambda _: None)
    after = peak_memory()
    assert before is not None  # as where nothing is forgotten
    assert after is not None
    return after - before
