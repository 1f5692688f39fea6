"""The traced graph of a detector with random fields of its own: a window of V frames, all at once.

Letters: those of graph.py.
"""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.structures import ImageList
from torch import Tensor

from videogcrf_det.export.graph import (
    DetectionGraph,
    FeatureGraph,
    Graph,
    Values,
    in_frame,
    named_outputs,
)


class WindowGraph(Graph):
    """Images (V, h, w, 3), uint8, frames that follow one another; what is made of them out.

    There is no state: what comes in is empty.

    Args:
        model: a ClipRCNN with a VideoGCRFBackbone.
        expected: see the graphs of a frame.
    """

    input_name = "images"

    def __init__(self, model: Any, expected: Any) -> None:
        super().__init__(model, expected)  # type: ignore[call-arg]
        self.num_frames = len(expected)
        self.example = 0  # there is one

    def inputs(self, images: Sequence[Tensor]) -> list[Tensor]:
        """See Graph."""
        return [torch.stack(list(images))]

    def forward(self, images: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """See Graph."""
        records = [{"image": image.permute(2, 0, 1)} for image in images]
        return self.of_window([self.model.preprocess_image([record]) for record in records])

    def coupled(self, images: Sequence[ImageList]) -> dict[str, Tensor]:
        """Features (V, C, h', w') by name, of frames each by itself."""
        return coupled_features(self.model, images)

    def of_window(self, images: Sequence[ImageList]) -> dict[str, Tensor]:
        """The names of the outputs."""
        raise NotImplementedError


class WindowFeatures(WindowGraph, FeatureGraph):
    """The coupled features of the backbone, ``expected`` of each frame."""

    def of_window(self, images: Sequence[ImageList]) -> dict[str, Tensor]:
        """See WindowGraph."""
        return self.coupled(images)

    def compare(self, made: Sequence[Values]) -> str:
        """See Graph."""
        (values,) = made
        frames = range(self.num_frames)
        return super().compare([{k: v[i : i + 1] for k, v in values.items()} for i in frames])


class WindowDetections(WindowGraph, DetectionGraph):
    """Detections, ``expected`` of each frame; ``frames`` (N,) says on which of the window."""

    def of_window(self, images: Sequence[ImageList]) -> dict[str, Tensor]:
        """See WindowGraph."""
        features, size = self.coupled(images), self.expected[0].image_size
        rows = []
        for index, image in enumerate(images):
            own = {name: maps[index : index + 1] for name, maps in features.items()}
            proposals, _ = self.model.proposal_generator(image, own, None)
            detections, _ = self.model.roi_heads(image, own, proposals, None)
            outputs = named_outputs(in_frame(detections[0], *size))
            outputs["frames"] = torch.full_like(outputs["classes"], index)
            rows.append(outputs)
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def compare(self, made: Sequence[Values]) -> str:
        """See Graph."""
        (values,) = made
        frames = range(self.num_frames)
        return super().compare(
            [{k: v[values["frames"] == i] for k, v in values.items()} for i in frames]
        )


def coupled_features(model: Any, images: Sequence[ImageList]) -> dict[str, Tensor]:
    """Coupled features (V, C, h', w') by name of a window, whose frames are given one by one."""
    sizes = [(int(h), int(w)) for image in images for h, w in image.image_sizes]
    joined = torch.cat([image.tensor for image in images])
    coupled: dict[str, Tensor] = model.backbone(joined, [len(images)], sizes)
    return coupled
