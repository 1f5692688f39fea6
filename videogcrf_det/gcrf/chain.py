"""Averages along time in one pass forward and one back: a chain of frames at every cell.

Energy of a cell followed through V frames, with confidences ``c_v > 0`` and links ``w_v >= 0`` to
the next frame:

    E(x) = sum_v c_v |x_v - b_v|^2 + sum_v w_v |x_v - x_{v+1}|^2

Its minimum is that of weighted_average with one unknown a frame and W tridiagonal, found by the
recursion of a Kalman smoother: forward, the mean m_v and the precision p_v given frames 0 to v,

    q_v = p_{v-1} w_{v-1} / (p_{v-1} + w_{v-1})      comes through the link
    p_v = c_v + q_v,    m_v = (c_v b_v + q_v m_{v-1}) / p_v

and backward, from x_{V-1} = m_{V-1}, ``x_v = (p_v m_v + w_v x_{v+1}) / (p_v + w_v)``. Positive
numbers are added, multiplied and divided, never subtracted, so that nothing cancels for any c and
w, and every step is elementwise.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def chain_forward(
    unary: Tensor,
    confidence: Tensor,
    before: tuple[Tensor, Tensor] | None = None,
    link: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The mean and the precision of a frame given all frames so far.

    Args:
        unary: b_v (..., C, N).
        confidence: c_v (..., 1, N), above 0.
        before: m_{v-1} and p_{v-1}; None for the first frame.
        link: w_{v-1} (..., 1, N), not negative; with ``before`` alone.

    Returns:
        m_v (..., C, N) and p_v (..., 1, N).
    """
    if before is None or link is None:
        return unary, confidence
    mean, precision = before
    precision = confidence + series(precision, link)
    return torch.lerp(mean, unary, confidence / precision), precision


def chain_backward(mean: Tensor, precision: Tensor, link: Tensor, after: Tensor) -> Tensor:
    """The solution x_v (..., C, N) of a frame from that of the next one.

    Args:
        mean, precision: m_v and p_v of chain_forward.
        link: w_v (..., 1, N), to the next frame.
        after: x_{v+1} (..., C, N).
    """
    return torch.lerp(mean, after, link / (precision + link))


def chain_average(unary: Tensor, confidence: Tensor, links: Tensor) -> Tensor:
    """Minimise E over clips, exactly, whatever their length.

    Args:
        unary: b (B, V, C, N), real.
        confidence: c (B, V, 1, N), above 0.
        links: w (B, V-1, 1, N), not negative.

    Returns:
        x (B, V, C, N): averages of the unaries over time, with weights that are positive and add
        up to 1.
    """
    means, precisions = chain_means(unary.unbind(1), confidence.unbind(1), links.unbind(1))
    result = [means[-1]]
    for v in reversed(range(len(means) - 1)):
        result.append(chain_backward(means[v], precisions[v], links[:, v], result[-1]))
    return torch.stack(result[::-1], 1)


def chain_means(
    unaries: Sequence[Tensor], confidences: Sequence[Tensor], links: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Means and precisions of chain_forward for V frames, given V - 1 links."""
    states = [chain_forward(unaries[0], confidences[0])]
    for unary, confidence, link in zip(unaries[1:], confidences[1:], links, strict=True):
        states.append(chain_forward(unary, confidence, states[-1], link))
    means, precisions = zip(*states, strict=True)
    return list(means), list(precisions)


def chain_variance(confidence: Tensor, links: Tensor) -> Tensor:
    """Marginal variances of the Gaussian ``exp(-E / 2)``: how unsure each average is.

    Args:
        confidence: c (B, V, 1, N), above 0.
        links: w (B, V-1, 1, N), not negative.

    Returns:
        (B, V, 1, N): the diagonal of the inverse of the chain's matrix.
    """
    frames = confidence.unbind(1)
    total = [frames[0]]  # from the past and the frame itself
    for c, link in zip(frames[1:], links.unbind(1), strict=True):
        total.append(c + series(total[-1], link))
    future = torch.zeros_like(frames[0])
    result = []
    for v in reversed(range(len(frames))):
        result.append(1 / (total[v] + future))
        if v:
            future = series(frames[v] + future, links[:, v - 1])
    return torch.stack(result[::-1], 1)


def series(precision: Tensor, link: Tensor) -> Tensor:
    """The precision q that comes through a link, as two conductances in series."""
    return precision * link / (precision + link)
