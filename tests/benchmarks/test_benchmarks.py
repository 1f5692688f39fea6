import json

import numpy as np
import pytest
import torch

from benchmarks import SUITES, Options, baselines, on_device, run_benchmark
from benchmarks.growth import growing_system, memory_process, resident_memory
from benchmarks.suites import infer
from benchmarks.systems import System, make_system
from benchmarks.timing import Times, take_turns
from tests.support.reference import Problem, reference_matrix, reference_solve
from videogcrf_det.errors import InputError

REPORTED = ("limit", "last_layer", "growth")


def problem_of(system: System) -> Problem:
    return Problem(system.unary, system.spatial, system.temporal, system.coupling, system.lam)


@pytest.mark.parametrize("condition", [10.0, 300.0])
@pytest.mark.parametrize(("frames", "neighbourhood"), [(1, ()), (4, ()), (5, (1,))])
def test_systems_have_the_condition_asked_for(frames, neighbourhood, condition):
    system = make_system(frames, 60, 6, 2, condition=condition, neighbourhood=neighbourhood)
    matrix = reference_matrix(*problem_of(system)[1:])[0]
    assert np.linalg.cond(matrix) == pytest.approx(condition, rel=0.01)


def test_residual_is_that_of_the_worst_column():
    system = make_system(3, 20, 4, 100, condition=10.0)
    x = reference_solve(problem_of(system))
    assert system.residual(x) < 1e-12
    x[..., 99] *= 1.5  # H x is then half of b too large
    assert system.residual(x) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("solve", "package"),
    [
        (baselines.dense_cholesky, "torch"),
        (baselines.scipy_cg, "scipy"),
        (baselines.linear_operator_cg, "linear_operator"),
        (baselines.linear_operator_woodbury, "linear_operator"),
        (lambda system, rtol: infer(system, "direct", rtol), "torch"),
        (lambda system, rtol: infer(system, "cg", rtol), "torch"),
    ],
)
def test_all_solvers_solve_the_same_system(solve, package):
    pytest.importorskip(package)
    system = make_system(4, 30, 5, 3, condition=30.0)
    with torch.no_grad():
        assert system.residual(solve(system, 5e-6)) < 1e-5


def test_conjugate_gradients_without_caching():
    system = make_system(4, 30, 5, 3, condition=30.0, neighbourhood=(1, 2))
    tensors = (system.spatial, system.temporal, system.coupling, system.lam)
    product = baselines.UncachedOperator(*tensors).matvec(system.grad)
    torch.testing.assert_close(product, system.operator().matvec(system.grad))
    laps = []
    baselines.cg_uncached(system, 1e-5, laps.append)
    assert laps == ["forward", "both"]


def test_dense_crf_follows_clear_unaries():
    pytest.importorskip("pydensecrf.densecrf")
    labels = np.zeros((20, 30), dtype=int)
    labels[:, 15:] = 1
    energies = np.where(np.arange(2)[:, None, None] == labels, 0.0, 5.0).astype(np.float32)
    image = np.repeat(labels[..., None] * 200, 3, axis=2).astype(np.uint8)
    result = baselines.dense_crf(image, energies, iterations=3)()
    np.testing.assert_array_equal(result.argmax(axis=0).reshape(20, 30), labels)


def test_candidates_take_turns():
    order = []

    def candidate(name):
        def run(lap):
            order.append(name)
            lap("forward")
            lap("both")

        return run

    candidates = {name: candidate(name) for name in "ab"}
    times = take_turns(candidates, 4, torch.device("cpu"), patience=100.0)
    assert "".join(order) == "ab" * 5  # the first round warms up
    assert {lap: len(t.samples) for lap, t in times["a"].items()} == {"forward": 4, "both": 4}
    assert times["b"]["forward"].median <= times["b"]["both"].median


def test_impatience_leaves_three_runs():
    times = take_turns({"a": lambda lap: lap("forward")}, 9, torch.device("cpu"), patience=0.0)
    assert len(times["a"]["forward"].samples) == 3


def test_median_and_spread():
    times = Times([1.0, 5.0, 2.0])
    assert (times.median, times.spread) == (2.0, 1.0)


def test_the_device_that_is_named_is_the_one_that_is_timed(monkeypatch):
    """And not the first of its kind."""
    device, asked = torch.device("cuda:1"), []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            asked.append(stream)

        def elapsed_time(self, other):
            return 1500.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    times = take_turns({"one": lambda lap: lap("forward")}, 1, device, patience=9)
    assert times["one"]["forward"].samples[-1] == 1.5
    assert set(asked) == {device}


def test_memory_is_that_of_the_results_at_least():
    case = (8, 4, 160_000, "fc", "cpu")  # D 16, N 20000, C 32
    system = growing_system(*case)
    results = 2 * system.unary.nbytes + 2 * system.spatial.nbytes  # x, and gradients of b, A, T
    with memory_process() as process:
        memory = process.apply(resident_memory, case)
    if memory is None:
        pytest.skip("the system does not count peaks of memory anew")
    assert results < memory < 4 * results


def test_reports_of_single_suites_add_up(tmp_path):
    options = Options(repeats=1, shrink=64)
    first, *others = REPORTED
    run_benchmark(options, tmp_path, "first", [first])
    paths = run_benchmark(options, tmp_path, "second", others)
    results = json.loads((tmp_path / "cpu.json").read_text())
    assert list(results) == ["last_layer", "growth", "limit"]  # in the order of SUITES
    assert results["limit"]["machine"]["command"] == "first"
    assert results["growth"]["machine"]["command"] == "second"
    for row in results["last_layer"]["rows"]:
        assert row["both"] > row["forward"] > 0
        assert row["residual"] < 1e-3
    text = (tmp_path / "cpu.md").read_text()
    for path in paths:
        assert path.stat().st_size > 0
        assert path.suffix != ".png" or f"({path.name})" in text


@pytest.mark.parametrize("name", [name for name in SUITES if name not in REPORTED])
def test_every_other_suite_has_a_table_and_plot(name, tmp_path):
    if name == "libraries":
        pytest.importorskip("linear_operator")
    if name == "dense_crf":
        pytest.importorskip("pydensecrf.densecrf")
    run_benchmark(Options(repeats=1, shrink=16), tmp_path, "command", [name])
    text = (tmp_path / "cpu.md").read_text()
    assert text.count("\n|") > 2
    assert "nan" not in text


def test_operations_that_fail_are_counted(tmp_path, monkeypatch):
    tests = tmp_path / "test_cases.py"
    tests.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('device', ['cpu', 'cuda'])\n"
        "def test_one(device): assert device == 'cuda'\n"
        "def test_two_cpu(): pass\n"
    )
    monkeypatch.setattr(on_device, "TESTS", tests)
    rows = list(on_device.operations(Options()))
    assert sorted(tuple(row.values()) for row in rows) == [
        ("test_one", 0, 1),
        ("test_two_cpu", 1, 0),
    ]
    monkeypatch.setattr(on_device, "TESTS", tmp_path / "none.py")
    with pytest.raises(InputError, match=r"there is no .*none.py: run this in the folder"):
        list(on_device.operations(Options()))


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    with pytest.raises(InputError, match=r"no suite 'speed'.*last_layer, feature_level"):
        run_benchmark(Options(), tmp_path, "", ["speed"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device cuda:1 is not available.*--device cpu"):
        run_benchmark(Options(device=torch.device("cuda:1")), tmp_path, "")
    (tmp_path / "cpu.json").write_text("{")
    with pytest.raises(InputError, match=r"cpu.json cannot be read.*remove it"):
        run_benchmark(Options(), tmp_path, "", ["limit"])
    with pytest.raises(InputError, match=r"compares with no_such_thing.*pip install"):
        baselines.load("no_such_thing")
