"""A detector with fields as one graph of a frame, at latency 0."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import Tensor

from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import load_video_model
from videogcrf_det.errors import InputError
from videogcrf_det.export.files import require, write_graph
from videogcrf_det.export.graph import DetectionGraph, FeatureGraph, GraphError, StepBackbone
from videogcrf_det.predictor import model_input
from videogcrf_det.video import open_video

NUM_FRAMES = 3  # of the video, on which a graph is compared with Python


def export_detector(cfg: CfgNode, source: str | Path, output: str | Path) -> None:
    """Write a detector with fields as a graph of one frame, and compare it with Python.

    Inputs of the graph are ``image`` (h, w, 3), uint8, in the order of INPUT.FORMAT, resized by
    Pillow's bilinear filter as detectron2 does it, and the state: for every feature its
    ``NAME.mean`` (1, C, h', w'), ``NAME.precision`` (1, 1, h', w') and ``NAME.embedding``
    (1, D, h', w'), float32. Zeros mean that there is no frame before: the first one then has the
    detector's own features. Outputs are ``boxes`` (N, 4) in pixels of the frame, ``classes`` (N,),
    ``scores`` (N,), of a detector with masks ``masks`` (N, M, M), the probabilities in each box,
    and the state for the next frame, with "next." before the names. A detector that cannot be
    exported is said so, and then the outputs are its coupled features, by their names.

    Args:
        cfg: of a detector with fields; see steady.detector.demo_cfg. Its latency is not heeded.
        source: a video or a folder of frames. The graph is for frames of its size, and is compared
            with Python on the first of them.
        output: ends with .onnx, or with .pt for TorchScript.

    Raises:
        InputError: the config has no fields, or such as cannot be exported; nothing is detected on
            the frames, or the graph does not give what Python gives.
    """
    output = Path(output)
    _check(cfg, output)
    frames = [frame.image[:, :, ::-1] for frame in islice(open_video(source), NUM_FRAMES)]
    if not frames:
        raise InputError(f"there are no frames in {source}: name another --input")
    video_model: Any = load_video_model(changed_cfg(cfg, "TEST.LATENCY", 0)).eval()
    model: Any = video_model.model
    if model.backbone.motion is not None:
        raise InputError("fields along motion cannot be exported: fit them without --motion")
    records = [model_input(cfg, frame) for frame in frames]
    expected = _coupled(model, records)
    outputs = list(video_model.detect_video(records))
    model.backbone = StepBackbone(model.backbone)
    try:
        try:
            found = _instances(outputs)
            write_graph(DetectionGraph(model, found), records, output, cfg)
        except GraphError as reason:
            architecture = cfg.MODEL.META_ARCHITECTURE
            print(
                f"{architecture} cannot be exported whole ({reason}): the graph gives the coupled "
                "features of its backbone instead"
            )
            write_graph(FeatureGraph(model, expected), records, output, cfg)
    except GraphError as reason:
        raise InputError(f"{output} is not written, because {reason}") from reason


def _check(cfg: CfgNode, output: Path) -> None:
    if output.suffix not in (".onnx", ".pt"):
        raise InputError(
            f"--output must end with .onnx, or with .pt for TorchScript, got {output}: rename it"
        )
    if output.is_dir():
        raise InputError(f"--output {output} is a folder: name a file")
    if output.suffix == ".onnx":
        require("onnx")
    if cfg.MODEL.BACKBONE.NAME == "build_video_gcrf_backbone":
        lacks = (
            "ONNX has no Cholesky factorisation, which a VideoGCRF is solved by"
            if output.suffix == ".onnx"
            else "TorchScript cannot hold the solver of a VideoGCRF"
        )
        raise InputError(
            f"{lacks}: export a detector with fields, --fields (videogcrf fit)"
        )
    if not cfg.MODEL.VIDEO_GCRF.FIELDS:
        raise InputError("there are no fields to export: name a file of videogcrf fit")
    if cfg.TEST.DETECTION_WINDOW != 1:
        raise InputError(
            f"TEST.DETECTION_WINDOW {cfg.TEST.DETECTION_WINDOW} averages detections, which a graph "
            "does not: set it to 1"
        )


def _instances(outputs: Sequence[Mapping[str, Any]]) -> list[Instances]:
    if not all("instances" in output for output in outputs):
        raise GraphError("it finds no instances")
    return [output["instances"].to("cpu") for output in outputs]


def _coupled(model: Any, records: Sequence[dict[str, Any]]) -> list[Mapping[str, Tensor]]:
    steady = model.backbone
    steady.reset()
    with torch.no_grad():
        return [steady(steady.images_of(model, record)) for record in records]
