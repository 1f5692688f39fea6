"""Windows of one video, solved together: what is of a frame alone is made once.

A frame's Gram matrices, factors and products with its right-hand sides are the same in all windows
that it is in. What couples the frames of a window is the last block of the small system of
direct.py, of the size Dt, with V D C numbers on its right. And since

    x_v = (b_v - A_v' a_v - T_v' t_v) / lam,        a_v = A_v x_v,   t_v = sum_u W[v, u] T_u x_u

is linear, and a_v follows from t_v and the frame, the mean of x_v over windows is that of the mean
of t_v. So windows give t, and x is made of each frame once.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from videogcrf_det.gcrf.direct import (
    combined,
    coupling_root,
    eliminate,
    eliminated,
    in_double,
    reduce,
    solve_reduced,
    substituted,
)
from videogcrf_det.gcrf.inference import gcrf_inference
from videogcrf_det.gcrf.operator import SpatioTemporalOperator
from videogcrf_det.gcrf.precision import full_precision, widest


class SharedFrame:
    """The part of one frame in the systems of all windows that it is in.

    Args:
        unary: b (1, 1, N, C).
        operator: A, T and lam of the frame, with B = V = 1.
    """

    def __init__(self, unary: Tensor, operator: SpatioTemporalOperator) -> None:
        self.unary = unary
        self.operator = operator
        with full_precision(unary.device):
            operator.stack(unary.shape[-1])
            self.grams = operator.grams()
            own, across, others = self.grams
            factors = eliminate(own.clone(), across, others, operator.lam)
            self.frame, self.border, self.left, self.positive = factors
            products = operator.products(unary)
            self.spatial, self.temporal = eliminated(self.frame, self.border, products)
            # solutions are checked by one column for all
            self.column = combined(unary), combined(self.spatial.mT).mT
        self._wide: SharedFrame | None = None

    def wide(self) -> "SharedFrame":
        """The same in float64; the solution is then made in float64 as well."""
        if self._wide is None:
            operator = in_double(self.operator)
            self._wide = SharedFrame(self.unary.to(operator.spatial.dtype), operator)
        return self._wide

    def solution(self, temporal: Tensor) -> Tensor:
        """x (1, 1, N, C), for t as rows (1, 1, C, Dt)."""
        wide = self._wide or self
        with full_precision(self.unary.device):
            x, _ = wide.spread(wide.unary, wide.spatial, temporal.to(wide.unary))
        return x.to(self.unary)

    def spread(self, unary: Tensor, spatial: Tensor, temporal: Tensor) -> tuple[Tensor, Tensor]:
        """x (1, 1, N, C) and a, rows (1, 1, C, Ds), for what is eliminated and for t, rows."""
        spatial = substituted(self.frame, self.border, spatial, temporal)
        scale = 1 / self.operator.lam
        x = self.operator.spread(unary, spatial.mT, temporal.mT, beta=scale, alpha=-scale)
        return x, spatial

    def square(self, spatial: Tensor, temporal: Tensor) -> Tensor:
        """``|A' a + T' t|^2`` of one column, for a and t as rows."""
        # in float64, lest the squares of small numbers be lost
        parts = (part.to(widest(part)) for part in (*self.grams, spatial, temporal))
        own, across, others, a, t = parts
        square = a @ (own @ a.mT + 2 * across @ t.mT) + t @ others @ t.mT
        return square.sum().clamp(min=0)


def couple(frames: Sequence[SharedFrame], coupling: Tensor, rtol: float) -> list[Tensor]:
    """t of each of the frames of a window, as rows (1, 1, C, Dt).

    The residual is measured for one column. Where it is above ``rtol``, or the factors are not to
    be had, that is done again in float64.

    Args:
        frames: V of them.
        coupling: W (V, V).
        rtol: see gcrf_inference.

    Raises:
        ValueError, IndefiniteError: see gcrf_inference.
    """
    with full_precision(frames[0].unary.device):
        temporal, solved = _couple(frames, coupling, rtol)
        if not solved:
            temporal, solved = _couple([frame.wide() for frame in frames], coupling, rtol)
        if not solved:
            _explain(frames, coupling, rtol)
    return list(temporal.split(1, dim=1))


def _couple(frames: Sequence[SharedFrame], coupling: Tensor, rtol: float) -> tuple[Tensor, bool]:
    """t of all frames, rows (1, V, C, Dt), and whether they solve the system."""
    left = torch.cat([frame.left for frame in frames], 1)
    factors, positive = reduce(left, coupling_root(coupling), frames[0].operator.lam)
    temporal = torch.cat([frame.temporal for frame in frames], 1)
    temporal = solve_reduced(*factors, temporal)

    ts = combined(temporal.mT).mT.split(1, dim=1)
    found = [f.spread(*f.column, t) for f, t in zip(frames, ts, strict=True)]
    products = [f.operator.products(x) for f, (x, _) in zip(frames, found, strict=True)]
    projected = torch.cat([product.mT for _, product in products], 1)  # (1, V, 1, Dt)
    mixed = (coupling.to(left) @ projected.flatten(2)).unflatten(2, (1, -1)).split(1, dim=1)
    errors = [
        frame.square(a - product[0].mT, t - sums)
        for frame, (_, a), product, t, sums in zip(frames, found, products, ts, mixed, strict=True)
    ]
    norms = [f.column[0].to(widest(left)).square().sum() for f in frames]
    small = torch.stack(errors).sum().sqrt() <= rtol * torch.stack(norms).sum().sqrt()
    positives = [frame.positive for frame in frames]
    return temporal, bool(torch.stack([*positives, positive, small]).all())


def _explain(frames: Sequence[SharedFrame], coupling: Tensor, rtol: float) -> None:
    """Raise the error, or give the warning, of a window that is solved by itself."""
    size = max(frame.unary.shape[2] for frame in frames)

    def padded(parts: list[Tensor]) -> Tensor:  # (1, 1, *, N) each
        return torch.cat([F.pad(part, (0, size - part.shape[3])) for part in parts], 1)

    unary = padded([frame.unary.mT for frame in frames]).mT
    spatial = padded([frame.operator.spatial for frame in frames])
    temporal = padded([frame.operator.temporal for frame in frames])
    lam = frames[0].operator.lam
    gcrf_inference(unary, spatial, temporal, coupling, lam, solver="direct", rtol=rtol)
