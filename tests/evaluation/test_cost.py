"""What an evaluation takes, and where it is written."""

import json
import mmap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import CONFIG
from videogcrf_det.engine import VideoTrainer, build_cfg
from videogcrf_det.evaluation.cost import measure_cost
from videogcrf_det.gcrf import SpatioTemporalOperator, conjugate_gradient, gcrf_inference
from videogcrf_det.memory import peak_memory


class Doubler(nn.Module):
    """Gives twice the frames of each video, as they are asked for."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, videos):
        return [(2 * frame for frame in video) for video in videos]


def test_frames_and_parameters():
    model = Doubler()
    with measure_cost(model) as cost:
        found = [list(outputs) for outputs in model([[1, 2, 3], [4]])]
    assert found == [[2, 4, 6], [8]]
    metrics = cost.metrics()
    assert cost.frames == 4
    assert metrics["seconds_per_frame"] == pytest.approx(cost.seconds / 4)
    assert metrics["seconds_per_frame"] > 0
    assert metrics["parameters"] == 16
    assert metrics["peak_memory_mib"] > 1
    assert metrics["cg_iterations_mean"] is None
    list(model([[1, 2, 3]])[0])
    assert cost.frames == 4, "nothing is counted after the block"


def test_memory_is_that_of_the_evaluation():
    _skip_if_the_peak_is_never_forgotten()
    _hold(2**28)
    with measure_cost(Doubler()) as cost:
        pass
    before = cost.metrics()["peak_memory_mib"]
    with measure_cost(Doubler()) as cost:
        _hold(2**27)
    assert before + 100 < cost.metrics()["peak_memory_mib"] < before + 200


def _hold(size):
    """Take bytes from the system and give them back: those of a tensor may come out of what the
    allocator still has from tests before, which the process holds all the time."""
    with mmap.mmap(-1, size) as memory:
        np.frombuffer(memory, np.uint8).fill(1)


def _skip_if_the_peak_is_never_forgotten():
    """Sandboxes mount /proc read-only, and not all systems have it."""
    _hold(2**28)
    try:
        before = peak_memory()
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the system does not count peaks of memory anew: {error}")
    if peak_memory() == before:
        pytest.skip("the system does not count peaks of memory anew")


@pytest.mark.parametrize("solver", ["cg", "direct"])
def test_iterations_of_all_columns(solver):
    generator = torch.Generator().manual_seed(0)
    unary = torch.randn(2, 3, 40, 5, generator=generator)
    spatial = torch.randn(2, 3, 4, 40, generator=generator)
    with measure_cost(Doubler()) as cost:
        gcrf_inference(unary, spatial, None, None, 0.5, solver=solver)
    operator = SpatioTemporalOperator(spatial, None, None, torch.tensor(0.5))
    expected = conjugate_gradient(operator.matvec, unary, rtol=1e-5).num_iters
    metrics = cost.metrics()
    if solver == "direct":
        assert metrics["cg_iterations_worst"] is None
        return
    assert metrics["cg_iterations_mean"] == pytest.approx(expected.float().mean().item())
    assert metrics["cg_iterations_worst"] == expected.max().item()
    gcrf_inference(unary, spatial, None, None, 0.5, solver=solver)
    assert len(cost.iterations) == expected.numel(), "nothing is counted after the block"


def test_the_file(small, mini_data):
    cfg = build_cfg(CONFIG, [*small, "MODEL.VIDEO_GCRF.SOLVER", "cg"])
    model = VideoTrainer.build_model(cfg)
    VideoTrainer.test(cfg, model)
    path = Path(cfg.OUTPUT_DIR, "inference", mini_data["val"], "cost.json")
    metrics = json.loads(path.read_text())
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())
    assert metrics["cg_iterations_worst"] >= metrics["cg_iterations_mean"] > 0
    assert metrics["seconds_per_frame"] > 0
