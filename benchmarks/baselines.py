"""Other ways to solve the systems: of the paper, and of libraries that a user would turn to.

They take a System and a tolerance; what they return is x as the package has it, (1, V, N, C).
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.systems import System
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import SpatioTemporalOperator, conjugate_gradient
from videogcrf_det.gcrf.inference import embedding_gradient

MAX_ITERS = 2000


class UncachedOperator(SpatioTemporalOperator):
    """H as Eq. 6 has it: each frame makes the products ``T_u p_u`` of all others for itself."""

    def project(self, p: Tensor) -> tuple[Tensor, Tensor]:
        rows, mixed = p.mT, []
        for weights in self.coupling:
            total = torch.zeros(())
            for u in weights.nonzero().flatten().tolist():
                total = weights[u] * (rows[:, u] @ self.temporal[:, u].mT) + total.to(rows)
            mixed.append(total)
        return (rows @ self.spatial.mT).mT, torch.stack(mixed, dim=1).mT


def cg_uncached(system: System, rtol: float, lap: Callable[[str], None]) -> None:
    """Conjugate gradients without the caching of Eq. 7, forward and backward."""
    tensors = (system.spatial, system.temporal, system.coupling)
    operator = UncachedOperator(*tensors, system.lam)

    def solve(rhs: Tensor) -> Tensor:
        solved = conjugate_gradient(operator.matvec, rhs, rtol=rtol, max_iters=MAX_ITERS)
        return solved.solution

    x = solve(system.unary)
    lap("forward")
    z = solve(system.grad)
    for px, pz in zip(operator.project(x), operator.project(z), strict=True):
        embedding_gradient(px, z, pz, x)
    lap("both")


def linear_operator_cg(system: System, rtol: float) -> Tensor:
    """linear_operator's conjugate gradients, given the fast product with H."""
    library = load("linear_operator")
    operator = system.operator()
    _, frames, size, columns = system.unary.shape

    class ClipOperator(library.operators.LinearOperator):  # type: ignore[name-defined]
        def _matmul(self, rhs: Tensor) -> Tensor:
            p = rhs.view(1, frames, size, -1)
            return operator.matvec(p).reshape(rhs.shape)

        def _size(self) -> torch.Size:
            return torch.Size([frames * size, frames * size])

        def _transpose_nonbatch(self) -> Any:
            return self

    settings = library.settings
    rhs = system.unary.reshape(frames * size, columns)
    with (
        settings.cg_tolerance(rtol),
        settings.max_cg_iterations(MAX_ITERS),
        settings.max_cholesky_size(0),
        settings.max_preconditioner_size(0),
    ):
        x = ClipOperator(system.spatial).solve(rhs)
    return x.view_as(system.unary)


def linear_operator_woodbury(system: System, _rtol: float) -> Tensor:
    """linear_operator's Woodbury identity, with all embeddings of the clip as one dense matrix."""
    library = load("linear_operator")
    _, frames, dim, size = system.spatial.shape
    blocks = torch.block_diag(*system.spatial[0])
    border = system.temporal[0].transpose(0, 1).reshape(dim, -1)  # W is all ones
    root = torch.cat([blocks, border]).mT
    matrix = library.operators.LowRankRootLinearOperator(root).add_diagonal(
        torch.full((frames * size,), system.lam).to(root)
    )
    rhs = system.unary.reshape(frames * size, -1)
    return matrix.solve(rhs).view_as(system.unary)


def scipy_cg(system: System, rtol: float) -> Tensor:
    """scipy's conjugate gradients, column by column, given the fast product with H."""
    linalg = load("scipy.sparse.linalg")
    operator = system.operator()
    shape = system.unary[..., :1].shape
    size = shape[1] * shape[2]

    def matvec(p: np.ndarray) -> np.ndarray:
        return operator.matvec(torch.from_numpy(p).view(shape)).reshape(-1).numpy()

    matrix = linalg.LinearOperator((size, size), matvec=matvec, dtype=np.float32)
    columns = [
        linalg.cg(matrix, b.reshape(-1).numpy(), rtol=rtol, maxiter=MAX_ITERS)[0]
        for b in system.unary.unbind(-1)
    ]
    return torch.from_numpy(np.stack(columns, axis=-1)).view_as(system.unary)


def dense_cholesky(system: System, _rtol: float) -> Tensor:
    """H as a matrix, and its Cholesky factor."""
    spatial, temporal = system.spatial[0], system.temporal[0]
    flat = temporal.transpose(0, 1).flatten(1)
    matrix = flat.mT @ flat  # W is all ones
    size = spatial.shape[2]
    for frame, embedding in enumerate(spatial):
        part = slice(frame * size, (frame + 1) * size)
        matrix[part, part].addmm_(embedding.mT, embedding)
    matrix.diagonal().add_(system.lam)
    factor = torch.linalg.cholesky(matrix)
    rhs = system.unary.reshape(len(matrix), -1)
    return torch.cholesky_solve(rhs, factor).view_as(system.unary)


def dense_crf(image: np.ndarray, unary: np.ndarray, iterations: int) -> Callable[[], np.ndarray]:
    """Mean-field inference of DenseCRF on an image (H, W, 3), uint8, with energies (L, H, W)."""
    library = load("pydensecrf.densecrf", "pydensecrf2")
    labels, height, width = unary.shape

    def infer() -> np.ndarray:
        crf = library.DenseCRF2D(width, height, labels)
        crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1), dtype=np.float32))
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
        return np.asarray(crf.inference(iterations))

    return infer


@functools.cache
def load(module: str, package: str | None = None) -> Any:
    """Import what only the benchmark needs."""
    try:
        return importlib.import_module(module)
    except ImportError:
        name = package or module.partition(".")[0]
        raise InputError(
            f"the benchmark compares with {name}, which is not installed: run "
            "`pip install -e '.[benchmark]'`, or leave the part out with --only"
        ) from None
