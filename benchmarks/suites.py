"""The measurements: one function per table of the report, each returning its rows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from benchmarks import baselines
from benchmarks.systems import System, make_system
from benchmarks.timing import Candidate, Lap, Times, take_turns
from videogcrf_det.gcrf import ProductField, conjugate_gradient, gcrf_inference

Row = dict[str, Any]

RESIDUAL = 1e-5
CONDITIONS = {"well": 10.0, "ill": 100.0}
LABELS, DIM = 12, 128
LAST_LAYER_CELLS, FEATURE_CELLS = 41 * 41, 1620  # 321x321 at stride 8; 480x854 at stride 16


@dataclass(frozen=True)
class Options:
    """Options of a measurement."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    repeats: int = 7
    patience: float = 20.0  # seconds for one candidate, three runs granted
    shrink: int = 1  # divides sizes, for a quick look
    on_run: Callable[[], None] = lambda: None

    def time(self, candidates: Mapping[str, Candidate]) -> dict[str, dict[str, Times]]:
        """Time candidates in turns."""
        return take_turns(candidates, self.repeats, self.device, self.patience, self.on_run)

    def system(self, frames: int, size: int, columns: int, **more: Any) -> System:
        """A system with embeddings of size 128."""
        dim = max(2, DIM // self.shrink)
        size, columns = max(2, size // self.shrink), max(1, columns // self.shrink)
        return make_system(frames, size, dim, columns, device=self.device, **more)


def last_layer(options: Options) -> Iterable[Row]:
    """The paper's setting of Sec. 2.4: 12 labels, 321x321, stride 8, D = 128."""
    for frames in (2, 3, 4, 7):
        yield from _both_conditions(options, frames, LAST_LAYER_CELLS * LABELS, 1)


def feature_level(options: Options) -> Iterable[Row]:
    """Before RoI pooling: 480x854, stride 16, C channels as right-hand sides."""
    for columns, counts, uncached in ((256, range(1, 8), (2, 4, 7)), (1024, (1, 2, 4, 7), (4,))):
        for frames in counts:
            yield from _both_conditions(options, frames, FEATURE_CELLS, columns, frames in uncached)


def _both_conditions(
    options: Options, frames: int, size: int, columns: int, uncached: bool = True
) -> Iterable[Row]:
    for name, condition in CONDITIONS.items():
        system = options.system(frames, size, columns, condition=condition)
        for row in _solvers(options, system, uncached):
            yield {"frames": frames, "columns": columns, "condition": name, **row}


def conditions(options: Options) -> Iterable[Row]:
    """Time and residual as the condition gets worse, V = 4."""
    for size, columns in ((LAST_LAYER_CELLS * LABELS, 1), (FEATURE_CELLS, 256)):
        for condition in (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0):
            system = options.system(4, size, columns, condition=condition)
            for row in _solvers(options, system, uncached=False):
                yield {"columns": columns, "condition": condition, **row}


def _solvers(options: Options, system: System, uncached: bool) -> Iterable[Row]:
    rtol, iterations, residual = _matching_tolerance(system)
    candidates: dict[str, Candidate] = {
        "direct": ours(system, "direct", RESIDUAL),
        "CG, cached": ours(system, "cg", rtol),
    }
    if uncached:
        candidates["CG, not cached"] = lambda lap: baselines.cg_uncached(system, rtol, lap)
    for solver, laps in options.time(candidates).items():
        direct = solver == "direct"
        yield {
            "solver": solver,
            "iterations": None if direct else iterations,
            "residual": system.residual(infer(system, "direct")) if direct else residual,
            **seconds_of(laps),
        }


def ours(system: System, solver: str, rtol: float) -> Candidate:
    """Inference and its gradients, timed apart."""

    def run(lap: Lap) -> None:
        tensors = (system.unary, system.spatial, system.temporal)
        unary, spatial, temporal = (t.detach().requires_grad_() for t in tensors)
        x = gcrf_inference(
            unary,
            spatial,
            temporal,
            system.coupling,
            system.lam,
            solver=solver,
            rtol=rtol,
            max_iters=baselines.MAX_ITERS,
        )
        lap("forward")
        x.backward(system.grad)
        lap("both")

    return run


def infer(system: System, solver: str, rtol: float = RESIDUAL) -> torch.Tensor:
    """x, without gradients."""
    with torch.no_grad():
        return gcrf_inference(
            system.unary,
            system.spatial,
            system.temporal,
            system.coupling,
            system.lam,
            solver=solver,
            rtol=rtol,
            max_iters=baselines.MAX_ITERS,
        )


def _matching_tolerance(system: System) -> tuple[float, int, float]:
    """The tolerance with which conjugate gradients end at a true residual of RESIDUAL at most.

    Their own residual is updated from step to step, and rounding lets it fall below the true one.
    """
    for factor in (1.0, 0.8, 0.6, 0.4, 0.2):
        rtol = factor * RESIDUAL
        result = conjugate_gradient(
            system.operator().matvec, system.unary, rtol=rtol, max_iters=baselines.MAX_ITERS
        )
        residual = system.residual(result.solution)
        if residual <= RESIDUAL:
            break
    return rtol, int(result.num_iters.max()), residual


def against_libraries(options: Options) -> Iterable[Row]:
    """The alternatives of a user, on the feature-level system, forward."""
    for condition in CONDITIONS:
        yield from _libraries(options, condition)


def _libraries(options: Options, condition: str) -> Iterable[Row]:
    system = options.system(4, FEATURE_CELLS, 256, condition=CONDITIONS[condition])
    rtol, *_ = _matching_tolerance(system)
    solvers: dict[str, Callable[[System, float], torch.Tensor]] = {
        "direct": lambda system, _: infer(system, "direct"),
        "CG, cached": lambda system, rtol: infer(system, "cg", rtol),
        "linear_operator, CG": baselines.linear_operator_cg,
        "linear_operator, Woodbury": baselines.linear_operator_woodbury,
        "dense Cholesky": baselines.dense_cholesky,
    }
    if options.device.type == "cpu":
        solvers["scipy, CG"] = baselines.scipy_cg
    solved: dict[str, torch.Tensor] = {}

    def candidate(name: str) -> Candidate:
        def run(lap: Lap) -> None:
            solved[name] = solvers[name](system, rtol)
            lap("forward")

        return run

    with torch.no_grad():
        times = options.time({name: candidate(name) for name in solvers})
    for name, laps in times.items():
        residual = system.residual(solved[name])
        yield {"condition": condition, "solver": name, "residual": residual, **seconds_of(laps)}


def against_dense_crf(options: Options) -> Iterable[Row]:
    """DenseCRF with 10 iterations at 321x321 against the last layer's random field, per frame."""
    size = 321 // options.shrink
    generator = np.random.default_rng(0)
    # a picture's smoothness, which is what DenseCRF's time depends on
    coarse = torch.from_numpy(generator.random((1, 3, 12, 12))).float()
    image = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")[0]
    noisy = image.permute(1, 2, 0).numpy() * 255 + generator.normal(0, 4, (size, size, 3))
    crf = baselines.dense_crf(
        np.ascontiguousarray(noisy.clip(0, 255).astype(np.uint8)),
        generator.random((LABELS, size, size), dtype=np.float32),
        iterations=10,
    )

    def dense(lap: Lap) -> None:
        crf()
        lap("forward")

    frames = (1, 4)
    candidates: dict[str, Candidate] = {"DenseCRF": dense}
    for count in frames:
        system = options.system(count, LAST_LAYER_CELLS * LABELS, 1, condition=CONDITIONS["ill"])
        candidates[f"direct, {count}"] = ours(system, "direct", RESIDUAL)
    times = options.time(candidates)
    yield {"solver": "DenseCRF, CPU", "frames": 1, **seconds_of(times["DenseCRF"])}
    for count in frames:
        yield {"solver": "direct", "frames": count, **seconds_of(times[f"direct, {count}"])}


def windows(options: Options) -> Iterable[Row]:
    """A video in windows of 4 frames: each frame in four of them, or in one."""
    frames, video = 4, 16
    for labels, cells, channels in ((LABELS, 41, 256), (None, 30, 256), (None, 30, 1024)):
        dim = max(2, DIM // options.shrink)
        crf = ProductField(
            channels, num_labels=labels, spatial_dim=dim, temporal_dim=dim, num_convs=0
        ).to(options.device)
        width = 41 if labels else 54
        shape = max(1, cells // options.shrink), max(1, width // options.shrink)
        features = torch.randn(video, channels, *shape, device=options.device)
        unary = torch.randn(video, labels, *shape, device=options.device) if labels else features
        valid = torch.ones_like(features[:, :1])

        def run(lap: Lap, step: int) -> None:
            for _ in crf.infer_video(parts, frames, step):  # noqa: B023, called in this turn
                pass
            lap("forward")

        with torch.no_grad():
            embedded = crf.embed(features, valid)
            parts = [
                (unary[i : i + 1], embedded.map(itemgetter(slice(i, i + 1)))) for i in range(video)
            ]
            times = options.time({str(s): partial(run, step=s) for s in (frames, 1)})
        columns = 1 if labels else channels
        for step in (frames, 1):
            row = {"positions": unary[0, 0].numel() * (labels or 1), "columns": columns}
            yield {
                **row,
                "windows": frames // step,
                "frames": video,
                **seconds_of(times[str(step)]),
            }


def limit(options: Options) -> Iterable[Row]:
    """The time that moving and multiplying the numbers takes at the least, V = 4, forward.

    Bytes: the embeddings twice, b and x once. Products: ``A A'``, ``T A'``, ``T T'``, and the two
    passes over the embeddings with the right-hand sides.
    """
    dim = 2048 // options.shrink
    matrix = torch.randn(dim, dim, device=options.device)
    memory = torch.randn(100_000_000 // options.shrink**2, device=options.device)
    target = torch.empty_like(memory)

    def multiply(lap: Lap) -> None:
        matrix @ matrix
        lap("forward")

    def copy(lap: Lap) -> None:
        target.copy_(memory)
        lap("forward")

    for size, columns in (
        (LAST_LAYER_CELLS * LABELS, 1),
        (FEATURE_CELLS, 256),
        (FEATURE_CELLS, 1024),
    ):
        system = options.system(4, size, columns, condition=CONDITIONS["well"])
        times = options.time(
            {"direct": ours(system, "direct", RESIDUAL), "multiply": multiply, "copy": copy}
        )
        flops_per_second = 2 * dim**3 / times["multiply"]["forward"].median
        bytes_per_second = 2 * memory.nbytes / times["copy"]["forward"].median
        embeddings = system.spatial.nbytes + system.temporal.nbytes
        moved = 2 * embeddings + 2 * system.unary.nbytes
        _, frames, wide, cells = system.spatial.shape
        gram = 2 * frames * cells * 3 * wide**2
        passes = 2 * 2 * frames * cells * 2 * wide * system.unary.shape[-1]
        yield {
            "positions": cells,
            "columns": columns,
            "flops_per_second": flops_per_second,
            "bytes_per_second": bytes_per_second,
            "embeddings and Gram": 2 * embeddings / bytes_per_second + gram / flops_per_second,
            "limit": moved / bytes_per_second + (gram + passes) / flops_per_second,
            **seconds_of(times["direct"]),
        }


def seconds_of(laps: Mapping[str, Times]) -> Row:
    row: Row = {}
    for lap, times in laps.items():
        row[lap] = times.median
        row[f"{lap}_spread"] = times.spread
        row["runs"] = len(times.samples)
    return row
