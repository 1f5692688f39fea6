import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.reference import random_problem, reference_solve
from videogcrf_det.gcrf import (
    SpatioTemporalOperator,
    direct,
    gcrf_inference,
    weighted_average,
)
from videogcrf_det.gcrf.precision import full_precision

NEW = hasattr(torch.backends, "fp32_precision")


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    yield
    if NEW:
        torch.backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")


def settings():
    if not NEW:
        return torch.get_float32_matmul_precision()
    backends = torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    return [backend.fp32_precision for backend in backends]


def choose(setting):
    if setting in ("highest", "high", "medium"):
        torch.set_float32_matmul_precision(setting)
    elif not NEW:
        pytest.skip("this torch does not know of it")
    elif setting == "of everything":
        torch.backends.cuda.matmul.fp32_precision = "none"
        torch.backends.mkldnn.matmul.fp32_precision = "none"
        torch.backends.fp32_precision = "tf32"
    else:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"


SETTINGS = ["highest", "high", "medium", "of everything", "of one"]


class Products(TorchDispatchMode):
    """What is set when matrices are multiplied."""

    def __init__(self):
        super().__init__()
        self.settings = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("mm", "bmm", "baddbmm", "baddbmm_"):
            self.settings.append(settings())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("solver", ["direct", "cg", "average"])
def test_solvers_multiply_in_full_precision(setting, solver):
    """Forward and backward, and what the user has set holds again afterwards."""
    problem = random_problem(3, lam=1.0)
    unary, spatial, temporal = (t.float().requires_grad_() for t in problem[:3])
    coupling = problem.coupling.float()
    choose(setting)
    before = settings()
    full = "highest" if not NEW else [before[0], "ieee", "ieee"]
    with Products() as products:
        if solver == "average":
            trust = spatial[:, :, 0].exp()
            x = weighted_average(unary, trust, temporal.exp(), coupling)
        else:
            x = gcrf_inference(unary, spatial, temporal, coupling, 1.0, solver=solver)
        assert settings() == before
        forward = len(products.settings)
        unary_grad, _ = torch.autograd.grad(x.sum(), (unary, temporal))
    assert settings() == before
    assert unary_grad.isfinite().all()
    assert 0 < forward < len(products.settings)
    # of the couplings' own product alone autograd makes the gradient, outside
    inside = products.settings[:forward]
    assert all(each == full for each in inside)
    assert full in products.settings[forward:]


def test_without_float64(monkeypatch):
    """As on Apple's GPUs: the direct solver does without, averages go to the CPU."""
    monkeypatch.setattr(direct, "widest", lambda values: values.dtype)
    problem = random_problem(3, size=40, lam=1.0)
    tensors = [t.float() for t in problem[:4]]
    for rtol in (1e-5, 1e-9):  # the second is not reached, and refined in vain
        x = gcrf_inference(*tensors, 1.0, solver="direct", rtol=rtol)
        assert x.dtype == torch.float32
        torch.testing.assert_close(x.double(), reference_solve(problem), rtol=1e-3, atol=1e-4)
    with Doubles() as doubles:
        operator = SpatioTemporalOperator(*tensors[1:], 1.0)
        root = direct.coupling_root(operator.weights)
        factors, result = direct.factorise_and_solve(operator, root, tensors[0], 1e-9)
        direct.solve(operator, factors, tensors[0], 1e-9)
    assert result.solution.dtype == torch.float32
    # but for the root of W, 3 x 3, which is made on the CPU
    assert max(doubles.sizes, default=0) <= 9


class Doubles(TorchDispatchMode):
    """The sizes of what is made in float64."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else [result]
        self.sizes += [
            t.numel() for t in made if isinstance(t, torch.Tensor) and t.dtype == torch.double
        ]
        return result


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_hold_again_after_an_error(setting):
    choose(setting)
    before = settings()
    with contextlib.suppress(KeyError), full_precision(torch.device("cpu")):
        assert settings() != before or setting == "highest"
        raise KeyError
    assert settings() == before


@pytest.mark.skipif(not NEW, reason="this torch has no setting of everything")
def test_a_setting_of_everything_still_reaches_products_afterwards():
    choose("of everything")
    with full_precision(torch.device("cpu")):
        pass
    torch.backends.fp32_precision = "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
