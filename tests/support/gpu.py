"""A GPU that is not there: tensors which say that they are on one, and hold values of the CPU.

Within ``simulated_gpu()`` tensors that are made on or moved to ``cuda:0`` are ``GPUTensor``s.
Operations that mix them with tensors of the CPU fail as on a GPU, and what makes the CPU wait for
the values is counted.
"""

import contextlib
import traceback
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda:0")
aten = torch.ops.aten
# operations whose result depends on values in its shape, or is on the CPU
WAITING = {
    *(aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default),
    *(aten._unique2.default, aten.equal.default, aten.is_nonzero.default),
}
FACTORIES = ("zeros", "ones", "empty", "full", "eye", "arange", "tensor", "as_tensor", "linspace")
FACTORIES += ("rand", "randn", "randint", "randperm", "logspace")
MIXING = {aten.copy_.default, aten._to_copy.default}


class GPUTensor(Tensor):
    """Values of the CPU that say they are on a GPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "GPUTensor":
        self = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device="cpu",
        )
        self.values = values
        return self

    @property
    def device(self) -> torch.device:
        return DEVICE

    @property
    def is_cuda(self) -> bool:
        return True

    def __repr__(self, **_: Any) -> str:
        return f"GPUTensor({self.values!r})"

    def tolist(self) -> Any:
        _wait("tolist")
        return self.values.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("a tensor of cuda:0 has no numpy(): copy it to the CPU first")

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        strangers = [t for t in tensors if not isinstance(t, cls) and t.dim()]
        if strangers and func not in MIXING and "index" not in func.name():
            raise RuntimeError(f"{func} mixes tensors of cuda:0 and of the CPU")
        if func in WAITING:
            _wait(str(func))
        if func is aten.copy_.default and not isinstance(args[0], cls):
            _wait("a copy to the CPU")
        results = func(*tree_map(_values, args), **tree_map(_values, kwargs))
        if func is aten.copy_.default:
            return args[0]
        # what was written in place is the tensor that came in
        came = {id(t.values): t for t in tensors if isinstance(t, cls)}
        return tree_map(lambda t: cls._wrapped(t, came), results)

    @classmethod
    def _wrapped(cls, result: Any, came: dict[int, Tensor]) -> Any:
        if not isinstance(result, Tensor):
            return result
        return came[id(result)] if id(result) in came else cls(result)


def _values(t: Any) -> Any:
    return t.values if isinstance(t, GPUTensor) else t


class _ToGPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return GPUTensor(values.detach())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        _wait("a gradient's copy to the CPU")
        return _values(grad)


class _ToCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        _wait("a copy to the CPU")
        return values.values.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return GPUTensor(grad)


def _to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, torch.dtype):
            dtype = arg
        elif isinstance(arg, (str, torch.device)):
            device = arg
    result = self if dtype in (None, self.dtype) else self.type(dtype)
    return result if device is None else _moved(result, torch.device(device))


def _made(factory: Any) -> Any:
    """A factory that knows of the device."""

    def make(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type != "cuda":
            return factory(*args, device=device, **kwargs)
        made = factory(*args, device="cpu", **kwargs)
        return made if isinstance(made, GPUTensor) else GPUTensor(made)

    return make


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    if isinstance(tensor, GPUTensor) == (device.type == "cuda"):
        return tensor
    return (_ToGPU if device.type == "cuda" else _ToCPU).apply(tensor)


_waits: list[str] = []


def _wait(what: str) -> None:
    frames = [f for f in traceback.extract_stack() if "videogcrf_det" in f.filename]
    _waits.append(f"{what} ({frames[-1].filename}:{frames[-1].lineno})" if frames else what)


@contextlib.contextmanager
def simulated_gpu() -> Any:
    """A list that gets what waited for the GPU in the block, and where."""
    _waits.clear()
    with contextlib.ExitStack() as patches:

        def patch(owner: Any, name: str, new: Any) -> None:
            patches.enter_context(mock.patch.object(owner, name, new))

        # before torch looks for a GPU
        for name in FACTORIES:
            patch(torch, name, _made(getattr(torch, name)))
        patch(Tensor, "to", _to)
        patch(Tensor, "cpu", lambda self: _moved(self, torch.device("cpu")))
        patch(Tensor, "cuda", lambda self: _moved(self, DEVICE))
        # the shape that a tensor shows outside is fixed; those who call this use what it returns
        patch(Tensor, "unsqueeze_", Tensor.unsqueeze)
        yield _waits
