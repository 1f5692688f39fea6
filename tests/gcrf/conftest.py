import pytest

from videogcrf_det.gcrf import inference


@pytest.fixture(autouse=True)
def _forget_warnings():
    """The convergence warning comes once per process: every test starts a process of its own."""
    inference._warned.clear()
