"""The couplings between the frames of a clip: the matrix W of Eq. 2."""

from collections.abc import Sequence

import torch
from torch import Tensor

SELF_COUPLINGS = ("psd", "zero")


def temporal_coupling(
    num_frames: int,
    neighbourhood: Sequence[int] = (),
    self_coupling: str = "psd",
    distance_decay: float | Tensor | None = None,
) -> Tensor:
    """Weights of the temporal terms between the frames of one clip.

    ``W[v, u]`` is 1 for neighbours, ``exp(-|v - u| / distance_decay)`` with a decay, and 0 for all
    other pairs. The paper leaves the diagonal at zero, with which H need not be positive definite
    for a small lam. ``"psd"`` raises the diagonal by ``max(0, -lambda_min(W))``, the least that
    makes W positive semidefinite, and so H >= lam I for all embeddings. Where all pairs are
    coupled, without decay, that is the matrix of ones.

    Args:
        num_frames: V, at least 1. A single frame has no neighbours: W = [[0]].
        neighbourhood: distances in frames, on either side, at which frames are coupled. None: every
            pair, "fc" in Fig. 4, whose "2" is (1,), "4" is (1, 2) and "6ms" is (1, 2, 4).
        self_coupling: ``"psd"``, or ``"zero"`` for Eq. 2 as printed.
        distance_decay: tau > 0 in frames; a tensor gets gradients through W.

    Returns:
        W (V, V), symmetric, in torch's default dtype or that of ``distance_decay``. On the CPU,
        where solvers look at it without waiting for a GPU.

    Source: Eq. 2 and Fig. 4; the decay is the paper's future work.
    """
    if num_frames < 1:
        raise ValueError(f"a clip needs at least 1 frame, got num_frames={num_frames}")
    if any(type(distance) is not int or distance < 1 for distance in neighbourhood):
        raise ValueError(
            "neighbourhood takes distances in frames, whole numbers from 1 on (none: all frames), "
            f"got {neighbourhood!r}"
        )
    if self_coupling not in SELF_COUPLINGS:
        raise ValueError(f"unknown self_coupling {self_coupling!r}: use psd or zero")
    if isinstance(distance_decay, Tensor):
        distance_decay = distance_decay.cpu()
    traced = hasattr(torch.library, "custom_op") and torch.compiler.is_compiling()  # torch >= 2.4
    looked_at = not (traced and isinstance(distance_decay, Tensor))
    if distance_decay is not None and looked_at and not distance_decay > 0:
        raise ValueError(f"distance_decay must be above 0 frames, got {distance_decay}")

    frame = torch.arange(num_frames, device="cpu")
    distance = (frame[:, None] - frame[None, :]).abs()
    linked = distance > 0
    if neighbourhood:
        linked = torch.isin(distance, torch.tensor(tuple(neighbourhood), device="cpu"))
    # float64 until the end: the shift of all pairs is then exactly 1 after rounding to float32
    weights = linked.double()
    if distance_decay is not None:
        weights = weights * torch.exp(-distance.double() / distance_decay)
    if self_coupling == "psd":
        shift = torch.linalg.eigvalsh(weights)[0].neg().clamp(min=0)
        weights = weights + shift * torch.eye(num_frames, dtype=torch.double, device="cpu")
    dtype = distance_decay.dtype if isinstance(distance_decay, Tensor) else None
    return weights.to(dtype or torch.get_default_dtype())
