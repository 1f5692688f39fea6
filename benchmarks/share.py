"""The random field's share of a detector's time."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.suites import Options, Row
from benchmarks.timing import Candidate, Lap
from videogcrf_det.gcrf import VideoGCRF

CONFIGS = "DAVIS-Person"
# name in the table -> the detector's config, and options of the random field
DETECTORS: dict[str, tuple[str, list[str]]] = {
    "R-50-FPN, p3 to p5": ("R_50_FPN", []),
    "R-50-FPN, p3 to p5, a 3x3 layer": ("R_50_FPN", ["MODEL.VIDEO_GCRF.NUM_CONVS", "1"]),
    "R-50-FPN, p2 to p5": (
        "R_50_FPN",
        ["MODEL.VIDEO_GCRF.IN_FEATURES", "('p2', 'p3', 'p4', 'p5')"],
    ),
    "R-50-C4, res4": ("R_50_C4", []),
}
# methods of the layer, and of its field -> what their time counts as
OF_LAYER = {"embeddings": ("field", "embeddings"), "fuse": ("field", "output")}
OF_FIELD = {"infer": ("field",)}
SIZE = (480, 854)
FRAMES = 4
DETECTIONS = 10


def share_of_detectors(options: Options) -> Iterable[Row]:
    """Inference of Mask R-CNN on 4 frames of 480x854 with and without the VideoGCRF.

    Weights are random, which leaves the work as it is: normalisation layers are set for features
    of variance 1, and a frame has 1000 proposals and 10 detections. Frames and weights of the two
    detectors are the same.
    """
    height, width = (side // options.shrink for side in SIZE)
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(256, (3, height, width), generator=generator).to(torch.uint8)
        for _ in range(FRAMES)
    ]
    clip = [{"frames": [{"image": image, "height": height, "width": width} for image in images]}]

    without: dict[str, Candidate] = {}
    for name, (suffix, opts) in DETECTORS.items():
        if suffix not in without:
            without[suffix] = _detection(
                _model(f"mask_rcnn_{suffix}.yaml", [], clip, options), clip
            )
        model = _model(f"video_gcrf_{suffix}_4f.yaml", opts, clip, options)
        parts: list[dict[str, float]] = []
        coupled = _detection(model, clip, _clock(model, options.device), parts)
        with torch.no_grad():
            laps = options.time({"without": without[suffix], "with": coupled})
        row: Row = {"detector": name, "runs": len(parts)}
        for key, times in laps.items():
            row[key] = times["forward"].median
            row[f"{key}_spread"] = times["forward"].spread
        for part in parts[0]:
            row[part] = statistics.median(run[part] for run in parts)
        yield row


def _detection(
    model: nn.Module,
    clip: list[Any],
    spent: dict[str, float] | None = None,
    parts: list[dict[str, float]] | None = None,
) -> Candidate:
    """Inference on a clip; a copy of ``spent``, what _clock gave, is added to ``parts``."""

    def run(lap: Lap) -> None:
        if spent is not None:
            spent.clear()
        model(clip)
        lap("forward")
        if spent is not None and parts is not None:
            parts.append(dict(spent))

    return run


def _model(config: str, opts: list[str], clip: list[Any], options: Options) -> nn.Module:
    from detectron2.layers import FrozenBatchNorm2d
    from detectron2.modeling import build_model

    from videogcrf_det.engine import build_cfg

    common = ["MODEL.WEIGHTS", "", "MODEL.DEVICE", str(options.device)]
    common += ["TEST.DETECTIONS_PER_IMAGE", str(DETECTIONS)]
    torch.manual_seed(0)
    model = build_model(build_cfg(f"{CONFIGS}/{config}", [*common, *opts])).eval()

    def normalise(layer: FrozenBatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)

    layers = [layer for layer in model.backbone.modules() if isinstance(layer, FrozenBatchNorm2d)]
    hooks = [layer.register_forward_pre_hook(normalise) for layer in layers]
    with torch.no_grad():
        model.backbone(model.preprocess_image(clip[0]["frames"][:1]).tensor)
    for hook in hooks:
        hook.remove()
    return model


def _clock(model: nn.Module, device: torch.device) -> dict[str, float]:
    """A dict in which seconds are added up that the random field and its parts take."""
    spent: dict[str, float] = defaultdict(float)

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def timed(method: Callable[..., Any], parts: Sequence[str]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            begin = now()
            result = method(*args)
            for part in parts:
                spent[part] += now() - begin
            return result

        return call

    for module in model.modules():
        if isinstance(module, VideoGCRF):
            for part, methods in ((module, OF_LAYER), (module.field, OF_FIELD)):
                for name, parts in methods.items():
                    setattr(part, name, timed(getattr(part, name), parts))
    return spent
