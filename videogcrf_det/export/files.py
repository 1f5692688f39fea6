"""Graphs as files, compared with Python before they are there."""

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.export import TracingAdapter
from numpy.typing import NDArray
from torch import Tensor

from videogcrf_det.errors import InputError
from videogcrf_det.export.graph import NEXT, OUTPUTS, Graph, GraphError, Values
from videogcrf_det.files import atomic_write

OPSET = 17  # of ONNX

Runner = Callable[[Mapping[str, NDArray[Any]]], Values]


def write_graph(
    graph: Graph, records: Sequence[Mapping[str, Any]], output: Path, cfg: CfgNode
) -> None:
    """Trace a graph, write it, and compare what the file gives.

    Raises:
        GraphError: it cannot be traced, or gives something else.
    """
    graph.eval().requires_grad_(False)  # or TorchScript would keep what gradients need
    device = next(graph.parameters()).device
    images = [record["image"].permute(1, 2, 0).contiguous() for record in records]
    inputs = graph.inputs(images)
    example = inputs[graph.example].to(device)
    height, width = images[0].shape[:2]
    size = json.dumps([records[0]["height"], records[0]["width"]])
    about = {"format": cfg.INPUT.FORMAT, "frame_size": size, "num_frames": str(graph.num_frames)}
    with atomic_write(output) as path:
        try:
            with _quiet():
                run, state = _traced(graph, example, about, path, output.suffix == ".onnx")
        except (InputError, GraphError):
            raise
        except Exception as error:  # whatever a meta-architecture and a tracer stumble over
            reason = " ".join((str(error) or type(error).__name__).split())
            raise GraphError(reason[:200]) from error
        said = "onnxruntime is not installed, so they were not compared with Python's"
        if run is not None:
            said = graph.compare(list(_one_by_one(run, graph.input_name, inputs, state)))
    print(f"wrote {output}, for images of {width}x{height} pixels: {graph.kind}; {said}")


def _traced(
    graph: Graph, example: Tensor, about: dict[str, str], path: Path, onnx: bool
) -> tuple[Runner | None, dict[str, Tensor]]:
    """Trace and write a graph; what runs it, and the state before the first frame."""
    with torch.no_grad():
        made = graph(example, {})
    state = {
        name.removeprefix(NEXT): torch.zeros_like(maps)
        for name, maps in made.items()
        if name.startswith(NEXT)
    }
    adapter = TracingAdapter(graph, (example, state)).eval()
    shapes = {name: list(maps.shape) for name, maps in sorted(state.items())}
    write = _write_onnx if onnx else _write_torchscript
    names = [graph.input_name, *sorted(state)], sorted(made)
    return write(adapter, names, {**about, "state": json.dumps(shapes)}, path), state


def _one_by_one(
    run: Runner, input_name: str, inputs: Sequence[Tensor], state: Mapping[str, Tensor]
) -> Iterator[Values]:
    values = {name: maps.cpu().numpy() for name, maps in state.items()}
    for each in inputs:
        made = run({input_name: each.numpy(), **values})
        values = {name: made[NEXT + name] for name in values}
        yield made


def _write_onnx(
    adapter: TracingAdapter, names: Sequence[list[str]], about: dict[str, str], path: Path
) -> Runner | None:
    inputs, outputs = names
    torch.onnx.export(
        adapter,
        adapter.flattened_inputs,
        str(path),
        # detectron2's models are made to be traced, not for torch.export
        dynamo=False,
        opset_version=OPSET,
        input_names=inputs,
        output_names=outputs,
        dynamic_axes={name: {0: "N"} for name in outputs if name in OUTPUTS.values()},
    )
    onnx = require("onnx")
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, about)
    onnx.save(model, str(path))
    try:
        import onnxruntime
    except ImportError:
        return None
    # of its content, since Windows renames no file that is open
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda values: dict(zip(outputs, session.run(outputs, dict(values)), strict=True))


def _write_torchscript(
    adapter: TracingAdapter, names: Sequence[list[str]], about: dict[str, str], path: Path
) -> Runner:
    inputs, outputs = names
    device = adapter.flattened_inputs[0].device
    traced = torch.jit.trace(adapter, adapter.flattened_inputs, check_trace=False)
    torch.jit.save(traced, str(path), _extra_files={**about, "outputs": json.dumps(outputs)})
    module = torch.jit.load(str(path), map_location=device)

    def run(values: Mapping[str, NDArray[Any]]) -> Values:
        made = module(*(torch.from_numpy(values[name]).to(device) for name in inputs))
        return {name: each.cpu().numpy() for name, each in zip(outputs, made, strict=True)}

    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what tracers say of fixed sizes, which are meant."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


def require(package: str) -> Any:
    """A package for ONNX; InputError where it is not installed."""
    try:
        return __import__(package)
    except ImportError:
        raise InputError(f"{package} is not installed: run pip install '.[export]'") from None
