import pytest
import torch

from videogcrf_det.gcrf import inference


@pytest.fixture(autouse=True)
def _fresh_start():
    """Random numbers from a seed, and the once-per-process convergence warning not yet given."""
    torch.manual_seed(0)
    inference._warned.clear()


@pytest.fixture(params=["direct", "cg"])
def solver(request):
    """Each of the solvers that "auto" chooses from."""
    return request.param
