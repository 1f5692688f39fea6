"""A detector with fields as one graph: of a frame, at latency 0, or of a window of frames."""

from collections.abc import Callable, Mapping, Sequence
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
from videogcrf_det.export.graph import DetectionGraph, FeatureGraph, Graph, GraphError, StepBackbone
from videogcrf_det.export.window import WindowDetections, WindowFeatures, coupled_features
from videogcrf_det.modeling.backbone import VideoGCRFBackbone
from videogcrf_det.predictor import model_input
from videogcrf_det.steady.ready_made import READY_MADE
from videogcrf_det.video import open_video

OWN_FIELDS = "build_video_gcrf_backbone"
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

    Of a detector with VideoGCRFs of its own, as TorchScript, the graph is one of a window:
    ``images`` (V, h, w, 3), V being INPUT.CLIP.NUM_FRAMES, without a state. ``frames`` (N,) then
    says which frame of the window, from 0, a detection is on.

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
    own = cfg.MODEL.BACKBONE.NAME == OWN_FIELDS
    number = cfg.INPUT.CLIP.NUM_FRAMES if own else NUM_FRAMES
    frames = [frame.image[:, :, ::-1] for frame in islice(open_video(source), number)]
    if len(frames) < (number if own else 1):
        there, least = ("no" if not frames else f"only {len(frames)}"), number if own else 1
        raise InputError(f"{source} has {there} frames, {least} are needed: name another --input")
    records = [model_input(cfg, frame) for frame in frames]
    whole, features = (_window_graphs if own else _frame_graphs)(cfg, records)
    try:
        try:
            write_graph(whole(), records, output, cfg)
        except GraphError as reason:
            architecture = cfg.MODEL.META_ARCHITECTURE
            print(
                f"{architecture} cannot be exported whole ({reason}): the graph gives the coupled "
                "features of its backbone instead"
            )
            write_graph(features(), records, output, cfg)
    except GraphError as reason:
        raise InputError(f"{output} is not written, because {reason}") from reason


# what makes a graph of detections, and one of features
Graphs = tuple[Callable[[], Graph], Callable[[], Graph]]


def _frame_graphs(cfg: CfgNode, records: list[dict[str, Any]]) -> Graphs:
    video_model: Any = load_video_model(changed_cfg(cfg, "TEST.LATENCY", 0)).eval()
    model: Any = video_model.model
    if model.backbone.motion is not None:
        raise InputError("fields along motion cannot be exported: fit them without --motion")
    expected = _coupled(model, records)
    outputs = list(video_model.detect_video(records))
    model.backbone = StepBackbone(model.backbone)
    return (
        lambda: DetectionGraph(model, _instances(outputs)),
        lambda: FeatureGraph(model, expected),
    )


def _window_graphs(cfg: CfgNode, records: list[dict[str, Any]]) -> Graphs:
    model: Any = load_video_model(cfg).eval()
    assert isinstance(model.backbone, VideoGCRFBackbone)
    outputs = list(model.detect_video(records))
    with torch.no_grad():
        maps = coupled_features(model, [model.preprocess_image([record]) for record in records])
    expected = [{k: v[i : i + 1] for k, v in maps.items()} for i in range(len(records))]
    return (
        lambda: WindowDetections(model, _instances(outputs)),
        lambda: WindowFeatures(model, expected),
    )


def _check(cfg: CfgNode, output: Path) -> None:
    if output.suffix not in (".onnx", ".pt"):
        raise InputError(
            f"--output must end with .onnx, or with .pt for TorchScript, got {output}: rename it"
        )
    if output.is_dir():
        raise InputError(f"--output {output} is a folder: name a file")
    if output.suffix == ".onnx":
        require("onnx")
    if cfg.MODEL.BACKBONE.NAME == OWN_FIELDS:
        _check_own_fields(cfg, output)
    elif not cfg.MODEL.VIDEO_GCRF.FIELDS:
        raise InputError(
            f"there are no fields to export: name a file of videogcrf fit, or {READY_MADE}, with "
            "--fields"
        )
    if cfg.TEST.DETECTION_WINDOW != 1:
        raise InputError(
            f"TEST.DETECTION_WINDOW {cfg.TEST.DETECTION_WINDOW} averages detections, which a graph "
            "does not: set it to 1"
        )


def _check_own_fields(cfg: CfgNode, output: Path) -> None:
    cure = "export a detector with the fields of tools/fit_video.py, --fields"
    if output.suffix == ".onnx":
        raise InputError(
            "ONNX has no Cholesky factorisation, which a VideoGCRF is solved by: write TorchScript "
            f"(.pt), or {cure}"
        )
    if cfg.MODEL.VIDEO_GCRF.PAIRWISE != "product":
        raise InputError(
            f"TorchScript cannot hold the solver of MODEL.VIDEO_GCRF.PAIRWISE "
            f"{cfg.MODEL.VIDEO_GCRF.PAIRWISE}, it has one for product: {cure}"
        )
    if cfg.MODEL.META_ARCHITECTURE != "ClipRCNN":
        raise InputError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} has no windows of frames to "
            "export: set it to ClipRCNN"
        )
    if not hasattr(torch.library, "custom_op"):
        raise InputError(
            f"torch {torch.__version__} cannot hold the solver of a VideoGCRF in TorchScript: "
            f"install 2.4 or later, or {cure}"
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
