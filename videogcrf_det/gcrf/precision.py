"""Arithmetic that solvers can rely on, whatever is set for the network around them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices in float32 in the block: no autocast, TF32 or bfloat16.

    With fewer digits a residual of 1e-5 cannot be measured, let alone reached, and averages of a
    constant are not that constant. What the user has set holds again afterwards.
    """
    with torch.autocast(device.type, enabled=False), _float32_products():
        yield


@contextlib.contextmanager
def _float32_products() -> Iterator[None]:
    if not hasattr(torch.backends, "fp32_precision"):  # torch before 2.9
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
        return
    # torch.set_float32_matmul_precision sets these two as well, but cannot be asked or told of
    # settings that it does not know
    mkldnn: Any = torch.backends.mkldnn
    backends: list[Any] = [torch.backends.cuda.matmul, mkldnn.matmul]
    settings = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, setting in zip(backends, settings, strict=True):
            backend.fp32_precision = "none"  # that of torch.backends, if it was so before
            if backend.fp32_precision != setting:
                backend.fp32_precision = setting


def widest(values: Tensor) -> torch.dtype:
    """float64; where the device has none (MPS), the type that the values have."""
    return values.dtype if values.device.type == "mps" else torch.double


def precise(values: Tensor) -> Tensor:
    """In float64; on the CPU where the device has none (MPS)."""
    return (values.cpu() if values.device.type == "mps" else values).double()
