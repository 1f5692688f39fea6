"""Times of several candidates, taken in turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

Lap = Callable[[str], None]
Candidate = Callable[[Lap], object]


@dataclass
class Times:
    """Seconds from the start to a lap, one for each repetition."""

    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Half the range of the samples as a share of their median."""
        return (max(self.samples) - min(self.samples)) / 2 / self.median


def take_turns(
    candidates: Mapping[str, Candidate],
    repeats: int,
    device: torch.device,
    patience: float,
    on_run: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Times]]:
    """Time the candidates in turns: one run of each, then the next of each, and so on.

    A candidate gets a function to call with a name whenever a part of its work is done. The first
    round warms up: it counts only for candidates that take more than a second, next to which a
    cold start is nothing. One whose runs add up to ``patience`` seconds leaves the rounds once it
    has been timed three times.

    Returns:
        The times of each candidate by the name of the lap.
    """
    times: dict[str, dict[str, Times]] = {name: {} for name in candidates}
    spent = dict.fromkeys(candidates, 0.0)
    for run in range(repeats + 1):
        for name, candidate in candidates.items():
            timed = max((len(lap.samples) for lap in times[name].values()), default=0)
            if timed == repeats or (timed >= 3 and spent[name] > patience):
                continue
            laps = _run(candidate, device)
            on_run()
            spent[name] += max(laps.values())
            if run == 0 and max(laps.values()) < 1:
                continue
            for lap, seconds in laps.items():
                times[name].setdefault(lap, Times()).samples.append(seconds)
    return times


def _run(candidate: Candidate, device: torch.device) -> dict[str, float]:
    """Seconds to each lap; on a GPU by its own clock."""
    if device.type == "cuda":
        start = torch.cuda.Event(enable_timing=True)
        events: dict[str, torch.cuda.Event] = {}

        def mark(name: str) -> None:
            events[name] = torch.cuda.Event(enable_timing=True)
            events[name].record(torch.cuda.current_stream(device))

        torch.cuda.synchronize(device)
        start.record(torch.cuda.current_stream(device))
        candidate(mark)
        torch.cuda.synchronize(device)
        return {name: start.elapsed_time(event) / 1e3 for name, event in events.items()}

    laps: dict[str, float] = {}

    def note(name: str) -> None:
        laps[name] = time.perf_counter() - begin

    begin = time.perf_counter()
    candidate(note)
    return laps
