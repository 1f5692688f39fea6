"""The chain against dense solves in float64, finite differences, and weighted_average."""

import pytest
import torch
from torch import Tensor

from videogcrf_det.gcrf import temporal_coupling, weighted_average
from videogcrf_det.gcrf.chain import chain_average, chain_means, chain_variance


def make(
    frames: int, seed: int = 0, dtype: torch.dtype = torch.float64, cells: int = 5
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    unary = torch.randn(2, frames, 3, cells, generator=generator, dtype=dtype)
    confidence = torch.randn(2, frames, 1, cells, generator=generator, dtype=dtype).exp()
    links = torch.rand(2, frames - 1, 1, cells, generator=generator, dtype=dtype)
    return unary, confidence, links


def matrix(confidence: Tensor, links: Tensor) -> Tensor:
    """(B, N, V, V): the chain's matrix at every cell, in float64."""
    c, w = confidence[:, :, 0].double().mT, links[:, :, 0].double().mT
    result = torch.diag_embed(c)
    if w.shape[2]:
        result += torch.diag_embed(torch.nn.functional.pad(w, (0, 1)))
        result += torch.diag_embed(torch.nn.functional.pad(w, (1, 0)))
        result -= torch.diag_embed(w, 1) + torch.diag_embed(w, -1)
    return result


def dense(unary: Tensor, confidence: Tensor, links: Tensor) -> Tensor:
    """The minimum of E by solving for each cell, in float64."""
    right = (confidence.double() * unary.double()).permute(0, 3, 1, 2)  # (B, N, V, C)
    return torch.linalg.solve(matrix(confidence, links), right).permute(0, 2, 3, 1)


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 50, 200])
def test_solves_the_system(frames: int) -> None:
    unary, confidence, links = make(frames)
    expected = dense(unary, confidence, links)
    torch.testing.assert_close(chain_average(unary, confidence, links), expected)
    single = chain_average(unary.float(), confidence.float(), links.float())
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


def test_the_forward_half_solves_the_system_of_the_past() -> None:
    unary, confidence, links = make(6)
    means, _ = chain_means(unary.unbind(1), confidence.unbind(1), links.unbind(1))
    for v, mean in enumerate(means):
        past = dense(unary[:, : v + 1], confidence[:, : v + 1], links[:, :v])
        torch.testing.assert_close(mean, past[:, -1])


def test_equals_weighted_average() -> None:
    unary, confidence, _ = make(8, cells=1)
    weights = temporal_coupling(8, (1,), "zero")
    embedding = torch.ones(2, 8, 1, 1, dtype=torch.float64)
    other = weighted_average(unary.mT, confidence[:, :, 0], embedding, weights.double())
    chain = chain_average(unary, confidence, torch.ones(2, 7, 1, 1, dtype=torch.float64))
    torch.testing.assert_close(chain, other.mT, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("least", [1e-8, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("link", [0.0, 1e-6, 1.0])
def test_constants_stay_whatever_the_confidences(least: float, link: float) -> None:
    _, confidence, links = make(30, dtype=torch.float32)
    confidence = torch.where(confidence > 1, confidence * least, 1e4)
    ones = torch.ones(2, 30, 1, 5)
    result = chain_average(ones, confidence, links * link)
    torch.testing.assert_close(result, ones, rtol=0, atol=1e-6)


def test_averages_of_tiny_confidences_are_those_of_float64() -> None:
    unary, confidence, links = make(20, dtype=torch.float32)
    confidence = confidence * torch.logspace(-8, 4, 20)[:, None, None]
    result = chain_average(unary, confidence, links)
    torch.testing.assert_close(
        result.double(), dense(unary, confidence, links), rtol=1e-4, atol=1e-4
    )


def test_without_links_frames_stay_as_they_are() -> None:
    unary, confidence, links = make(5, dtype=torch.float32)
    assert torch.equal(chain_average(unary, confidence, links * 0), unary)  # bit by bit: weight 1


def test_gradients_are_right() -> None:
    inputs = [value.requires_grad_() for value in make(4, cells=2)]
    assert torch.autograd.gradcheck(chain_average, inputs)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_variances_are_the_diagonal_of_the_inverse(frames: int) -> None:
    _, confidence, links = make(frames)
    inverse = torch.linalg.inv(matrix(confidence, links))
    expected = inverse.diagonal(dim1=2, dim2=3).permute(0, 2, 1)[:, :, None]
    torch.testing.assert_close(chain_variance(confidence, links), expected)
