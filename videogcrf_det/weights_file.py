"""Reading files of weights without running code that they hold.

A pickle can name any function and have it called. Of those in weights files only the ones that
make NumPy arrays, tensors and plain containers are called here; all others are refused.
"""

import codecs
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from videogcrf_det.errors import InputError

Weights = dict[str, Any]  # tensors by name
ADVICE = "check the path in MODEL.WEIGHTS, or download the file and give its path there"


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint in detectron2's form: ``{"model": tensors by name, ...}``.

    Takes what detectron2 takes: ``.pth`` of a trainer or with weights alone, ``.pkl`` of its model
    zoo and of Caffe2, whose names ``matching_heuristics`` translate, and ``.pyth`` of pycls; and
    files of other projects that have their weights as one entry of any name.

    Raises:
        InputError: the file cannot be read, would run code, or holds no weights.
    """
    path = os.fspath(path)
    is_pickle = path.endswith(".pkl") and not zipfile.is_zipfile(path)
    try:
        content = read_pickle(path) if is_pickle else _read_torch(path)
    except pickle.UnpicklingError as error:
        raise InputError(_why_refused(path, error)) from None
    except Exception as error:  # whatever a reader of a damaged file comes upon
        raise InputError(
            f"cannot load the weights {path} ({' '.join(str(error).split()) or 'it is empty'}): "
            f"{ADVICE}"
        ) from error
    return _in_form(path, content)


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """The content of a pickle of NumPy arrays and plain containers.

    Raises:
        pickle.UnpicklingError: it holds anything else.
    """
    with open(path, "rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()


def _encode(text: str, encoding: str) -> bytes:
    """Stands for the function by which pickles of protocol 2 write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes-in-{encoding}")
    return codecs.latin_1_encode(text)[0]


def _from_buffer(
    buffer: bytes, dtype: Any, shape: tuple[int, ...], order: Any, axis_order: Any = None
) -> Any:
    """Stands for the function by which pickles of protocol 5 write arrays."""
    if axis_order is not None:
        raise pickle.UnpicklingError("it holds an-array-with-permuted-axes")
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


# what pickles call to make an array and a scalar; its module depends on the version of NumPy
_RECONSTRUCT: Any = np.zeros(1).__reduce__()[0]
_SCALAR: Any = np.float32().__reduce__()[0]
# by module, as Python 2 and 3 and NumPy 1 and 2 have written them
_MAKERS: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
    **{f"{module}.{kind.__name__}": kind for module in ("builtins", "__builtin__")
       for kind in (set, frozenset, bytearray, complex)},
    **{f"numpy.{core}.multiarray._reconstruct": _RECONSTRUCT for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _SCALAR for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}  # fmt: skip


class _ArrayUnpickler(pickle.Unpickler):
    """Makes NumPy arrays and plain containers alone."""

    def find_class(self, module: str, name: str) -> Any:
        """The object that the file calls ``module.name``; see pickle.Unpickler."""
        maker = _MAKERS.get(f"{module}.{name}")
        if maker is None:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return maker


def _read_torch(path: str) -> Any:
    kinds = [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]
    makers: list[Any] = [
        (maker, f"numpy.{core}.multiarray.{maker.__name__}")
        for core in ("core", "_core")
        for maker in (_RECONSTRUCT, _SCALAR)
    ]
    named = [(_encode, "_codecs.encode"), *makers]
    with torch.serialization.safe_globals([np.ndarray, np.dtype, *kinds, *named]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _why_refused(path: str, error: Exception) -> str:
    """The sentence about a file that holds what is not called, or is no pickle at all."""
    found = re.search(r"(?:it holds|GLOBAL) (\S+)", str(error))  # _ArrayUnpickler's, or torch's
    if not found:
        return f"cannot load the weights {path}, which are no file of PyTorch or pickle: {ADVICE}"
    name = found[1]
    return (
        f"the weights {path} hold {name}, which is neither an array nor a plain container, and "
        "loading it could run any code: if you trust the file, load it with "
        'torch.load(..., weights_only=False) and save its weights alone as {"model": ...}'
    )


def _in_form(path: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, not weights by name: {ADVICE}")
    if path.endswith(".pkl") and not ("model" in content and "__author__" in content):
        blobs = content.get("blobs", content)  # of Caffe2 and Detectron
        found = {key: value for key, value in blobs.items() if not str(key).endswith("_momentum")}
        author = {"__author__": "Caffe2", "matching_heuristics": True}
        return {"model": _tensors(path, found), **author}
    key = _key_of_weights(path, content)
    if key is None:
        return {"model": _tensors(path, content)}
    others = {name: value for name, value in content.items() if name != key}
    checkpoint = {**others, "model": _tensors(path, content[key])}
    if path.endswith(".pyth"):
        checkpoint |= {"__author__": "pycls", "matching_heuristics": True}
    return checkpoint


def _key_of_weights(path: str, content: Mapping[Any, Any]) -> str | None:
    """The entry that has the weights; None: all entries are weights."""
    if isinstance(content.get("model"), Mapping):
        return "model"
    found = [key for key, value in content.items() if _is_weights(value)]
    if len(found) == 1 and not _is_weights(content):
        return found[0]
    if found:
        raise InputError(
            f"{path} has weights under {', '.join(map(repr, found))}, and which to take is not "
            'clear: save those that you mean alone, as {"model": ...}'
        )
    if _is_weights(content):
        return None
    names = ", ".join(map(repr, list(content)[:8])) or "nothing"
    raise InputError(f"{path} has no weights by name, only {names}: {ADVICE}")


def _is_weights(value: Any) -> bool:
    """True if it has tensors by name, and little else: numbers at most."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and any(_is_array(each) and np.ndim(each) for each in value.values())
        and not any(isinstance(each, Mapping | list | tuple) for each in value.values())
    )


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)


def _tensors(path: str, weights: Mapping[Any, Any]) -> Weights:
    """Weights as tensors; anything else, such as an epoch's number, is left out."""
    tensors: Weights = {}
    for name, value in weights.items():
        if isinstance(value, int | float | np.generic) and not isinstance(value, np.void | np.str_):
            value = np.asarray(value)  # such as num_batches_tracked
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            tensors[str(name)] = torch.from_numpy(np.array(value))  # writable
        elif isinstance(value, torch.Tensor):
            tensors[str(name)] = value
    if not tensors:
        raise InputError(f"{path} holds no weights: {ADVICE}")
    if all(name.startswith("module.") for name in tensors):  # of a model for several processes
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f"the weights {path} are not finite ({name}): the training that wrote them "
                "diverged; take an earlier checkpoint, or train again with a lower SOLVER.BASE_LR"
            )
    return tensors
