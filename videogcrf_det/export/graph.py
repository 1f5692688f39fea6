"""The traced graph: a frame and the state of the chain in, results and the next state out.

Letters: H x W a frame, h x w the image that the detector sees of it, N detections, M x M a mask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from numpy.typing import NDArray
from torch import Tensor, nn

from videogcrf_det.errors import InputError
from videogcrf_det.gcrf.chain import chain_forward
from videogcrf_det.gcrf.chain_field import link
from videogcrf_det.steady.attach import SteadyBackbone

NEXT = "next."  # before the name of a part of the state that comes out
LEAST_LINK = 1e-30  # where the state is zero: 0 / 0 otherwise
NEAR = 0.01  # pixels, less than this between boxes that are the same
FAR = 1e-3  # of the largest feature, more than this is not rounding
FEWEST = 0.95  # of Python's detections; rounding decides on a few that overlap or score equally
# what Instances call it: its name in a graph
OUTPUTS = {
    "pred_boxes": "boxes",
    "pred_classes": "classes",
    "scores": "scores",
    "roi_masks": "masks",
    "pred_keypoints": "keypoints",
}

Values = dict[str, NDArray[Any]]


class GraphError(Exception):
    """Why a graph cannot be had, the middle of a sentence."""


class StepBackbone(SteadyBackbone):
    """Couples the features of one frame with a state that it is given, and has the next one."""

    def __init__(self, steady: SteadyBackbone) -> None:
        super().__init__(steady.backbone, steady.fields, steady.pictures, strength=steady.strength)
        self.state: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if self._stop_at_images:
            return super().forward(images)
        features = self.backbone(images)
        coupled = dict(features)
        state: dict[str, Tensor] = {}
        for name, described in self.fields.describe(features, self.pictures(images)).items():
            unary = features[name].float()
            if described.change is not None:
                unary = unary + self.strength * described.change
            mean, precision, embedding = self._before(name, unary, described.embedding)
            strength = self.strength * link(described.embedding, embedding)
            mean, precision = chain_forward(
                unary, described.confidence, (mean, precision), strength.clamp(min=LEAST_LINK)
            )
            coupled[name] = mean.to(features[name].dtype)
            state |= _named(name, (mean, precision, described.embedding))
        self.state = state
        return coupled

    def _before(self, name: str, unary: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
        if self.state:
            return tuple(self.state[key] for key in _named(name, (unary, unary, unary)))
        return torch.zeros_like(unary), torch.zeros_like(unary[:, :1]), torch.zeros_like(embedding)


def _named(name: str, parts: Sequence[Tensor]) -> dict[str, Tensor]:
    kinds = ("mean", "precision", "embedding")
    return {f"{name}.{kind}": part for kind, part in zip(kinds, parts, strict=True)}


class Graph(nn.Module):
    """An image (h, w, 3), uint8, and a state in; what is made of it and the next state out.

    Args:
        model: of detectron2, with a StepBackbone.
    """

    kind = ""
    input_name = "image"
    num_frames = 1  # that are seen at a time
    example = 0  # of the inputs, the one to trace with

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def inputs(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Its inputs, one after the other, for the images (h, w, 3) of a video."""
        return list(images)

    def forward(self, image: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        self.model.backbone.state = state
        made = self.make({"image": image.permute(2, 0, 1)})
        return {**made, **{NEXT + key: maps for key, maps in self.model.backbone.state.items()}}

    def make(self, record: dict[str, Any]) -> dict[str, Tensor]:
        """The outputs beside the state."""
        raise NotImplementedError

    def compare(self, made: Sequence[Values]) -> str:
        """The distance of the outputs for all frames from Python's.

        Raises:
            GraphError: they are not the same.
        """
        raise NotImplementedError


class FeatureGraph(Graph):
    """The coupled features of the backbone, ``expected`` of each frame."""

    kind = "features"

    def __init__(self, model: Any, expected: Sequence[Mapping[str, Tensor]]) -> None:
        super().__init__(model)
        self.expected = expected

    def make(self, record: dict[str, Any]) -> dict[str, Tensor]:
        return self.model.backbone(self.model.backbone.images_of(self.model, record))

    def compare(self, made: Sequence[Values]) -> str:
        worst = max(
            float(np.abs(maps.cpu().numpy() - values[name]).max() / maps.abs().max())
            for expected, values in zip(self.expected, made, strict=True)
            for name, maps in expected.items()
        )
        if not worst < FAR:
            raise GraphError(f"its features differ from Python's by {worst:.1e} of the largest")
        return f"Python's differ by {worst:.0e} of the largest"


class DetectionGraph(Graph):
    """Detections, ``expected`` of each frame, in pixels of the frame."""

    kind = "detections"

    def __init__(self, model: Any, expected: Sequence[Instances]) -> None:
        super().__init__(model)
        self.expected = expected
        # what is traced without a detection would know of none
        self.example = int(np.argmax([len(each) for each in expected]))
        if not len(expected[self.example]):
            raise InputError(
                f"nothing is detected on the first {len(expected)} frames: name an --input where "
                "there is something, or lower MODEL.ROI_HEADS.SCORE_THRESH_TEST"
            )

    def make(self, record: dict[str, Any]) -> dict[str, Tensor]:
        height, width = self.expected[0].image_size
        if hasattr(self.model, "roi_heads"):
            found = self.model.inference([record], do_postprocess=False)[0]
            found = found[0] if isinstance(found, list) else found  # PanopticFPN's
            found = in_frame(found, height, width)
        else:
            found = self.model([{**record, "height": height, "width": width}])[0]["instances"]
        return named_outputs(found)

    def compare(self, made: Sequence[Values]) -> str:
        total, same = 0, 0
        for found, values in zip(self.expected, made, strict=True):
            boxes, classes = found.pred_boxes.tensor.numpy(), found.pred_classes.numpy()
            near = np.abs(boxes[:, None] - values["boxes"]).max(2) < NEAR
            same += int((near & (classes[:, None] == values["classes"])).any(1).sum())
            total += max(len(boxes), len(values["boxes"]))
        if same < FEWEST * total:
            raise GraphError(
                f"of {total} detections on {len(made)} frames it shares {same} with Python"
            )
        return f"{same} of {total} on the first {len(made)} frames are Python's"


def in_frame(found: Instances, height: int, width: int) -> Instances:
    """Detections of RoI heads in pixels of the frame. Masks (N, M, M) become ``roi_masks``: they
    are not drawn into the frame by the graph."""
    if found.has("pred_masks"):
        found.roi_masks = found.pred_masks[:, 0]
        found.remove("pred_masks")
    return detector_postprocess(found, height, width)


def named_outputs(found: Instances) -> dict[str, Tensor]:
    """The detections in a graph's outputs."""
    fields = found.get_fields()
    return {
        name: getattr(fields[key], "tensor", fields[key])
        for key, name in OUTPUTS.items()
        if key in fields
    }
