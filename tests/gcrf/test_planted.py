"""What couplings of known strength make of a frame of which nothing can be seen (docs/method.md).

One position, V frames that all show the value 1, but for the first, which shows 0. Embeddings are
planted: of length r in the first frame and of length 1, times a strength, in the others.
"""

import pytest
import torch

from videogcrf_det.gcrf.graph import temporal_coupling
from videogcrf_det.gcrf.inference import gcrf_inference

V = 4
CLEAR = torch.ones(V, dtype=torch.float64)


def change(ratio, strength, lam=1.0):
    """lam x - b of the paper's field, (V,), and b."""
    unary = CLEAR.clone()
    unary[0] = 0
    lengths = strength * CLEAR.clone()
    lengths[0] *= ratio
    coupling = temporal_coupling(V, (), self_coupling="psd").double()
    x = gcrf_inference(unary.view(1, V, 1, 1), None, lengths.view(1, V, 1, 1), coupling, lam)
    return lam * x.flatten() - unary, unary


def left(difference, unary):
    """The squared error after ``b + g (lam x - b)``, with the best gain g of all frames."""
    missing = CLEAR - unary
    gain = (missing @ difference) / (difference @ difference)
    return (missing - gain * difference).square().sum().item(), gain.item()


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_replacing_features_moves_what_is_missing_further_away(ratio, strength):
    difference, unary = change(ratio, strength)
    assert difference[0] < 0, "what the others agree on is taken away, where nothing was, too"
    assert (CLEAR - unary - difference).square().sum() > (CLEAR - unary).square().sum()


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0, 10.0])
def test_a_residual_removes_as_much_as_embeddings_mark_what_is_missing(ratio, strength):
    """n / (r^2 + n) of the error is left, whatever the strength: with equal lengths 3/4."""
    error, gain = left(*change(ratio, strength))
    n = V - 1
    assert error == pytest.approx(n / (ratio**2 + n), rel=1e-4)
    assert gain < 0, "the sign that the couplings have turned round"


def test_an_average_removes_all_of_it():
    """With the confidence where products have a length, 1/50 here, and links of 1."""
    confidence = CLEAR.clone()
    confidence[0] = 0.02
    laplacian = V * torch.eye(V, dtype=torch.float64) - 1
    unary = CLEAR.clone()
    unary[0] = 0
    x = torch.linalg.solve(torch.diag(confidence) + laplacian, confidence * unary)
    assert (CLEAR - x).square().sum() < 1e-3
