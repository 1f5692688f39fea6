"""Fields in a live detectron2 model of any meta-architecture that has a backbone.

The model stays as it is, but for its backbone, in whose place stands a SteadyBackbone. Frame by
frame that gives coupled features at once (latency 0). ``detect_video`` looks ahead: it stops the
model's own forward at the backbone to get at the images, runs the backbone on several frames at a
time, couples, and then lets the model's own forward take the features that are ready. Nothing of
what is before or behind the backbone is known here.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from videogcrf_det.errors import InputError
from videogcrf_det.motion.estimate import MotionEstimator
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.stream import Features, FieldStream

Frame = dict[str, Any]


class _ImagesReached(Exception):
    """Ends a model's forward at its backbone."""


class SteadyBackbone(Backbone):
    """Stands in for a backbone whose features fields couple over time.

    Called like the backbone, it takes its images (M, 3, H, W) for the next M frames of a video and
    returns their features coupled with those of all frames before. A frame of another size starts
    a new video, and so does ``reset``.
    """

    def __init__(
        self,
        backbone: Backbone,
        fields: SteadyFields,
        *,
        latency: int | None = 0,
        strength: float = 1.0,
        motion: MotionEstimator | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fields = fields
        self.latency = latency
        self.strength = strength
        self.motion = motion
        self._stop_at_images = False
        self._images: Tensor | None = None
        self._ready: Features | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far: the next one begins a new video."""
        self._stream = FieldStream(self.fields, 0, self.strength)
        self._size: torch.Size | None = None
        if self.motion is not None:
            self.motion.reset()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Coupled features of images (M, 3, H, W), frames that follow one another."""
        if self._ready is not None:
            return dict(self._ready)
        if self._stop_at_images:
            self._images = images
            raise _ImagesReached
        if self.training:
            raise InputError(
                "a detector with fields attached cannot be trained: call model.eval(), or detach "
                "the fields"
            )
        if images.shape[2:] != self._size:
            self.reset()
            self._size = images.shape[2:]
        with torch.no_grad():
            features = self.backbone(images)
            rows: list[Features] = []
            for index in range(len(images)):
                motion = None if self.motion is None else self.motion(images[index : index + 1])
                rows += self._stream.push(_row(features, index), motion)
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def images_of(self, model: nn.Module, frame: Frame) -> Tensor:
        """The images (1, 3, H, W) that ``model``, whose backbone this is, makes of a frame."""
        self._stop_at_images = True
        try:
            model([frame])
        except _ImagesReached:
            assert self._images is not None
            return self._images
        finally:
            self._stop_at_images, self._images = False, None
        raise InputError(
            f"{type(model).__name__} does not ask its backbone for features: fields cannot be used"
        )

    @contextmanager
    def serving(self, features: Features) -> Iterator[None]:
        """Have ``forward`` return these."""
        self._ready = features
        try:
            yield
        finally:
            self._ready = None

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Shapes of the backbone's features."""
        return self.backbone.output_shape()

    @property
    def size_divisibility(self) -> int:
        """That of the backbone."""
        return self.backbone.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """Those of the backbone."""
        return getattr(self.backbone, "padding_constraints", {})  # detectron2 0.6 has none


def attach(
    model: nn.Module,
    fields: SteadyFields,
    *,
    latency: int | None = 0,
    strength: float = 1.0,
    motion: MotionEstimator | None = None,
) -> nn.Module:
    """Put fields between the backbone and the heads of a live model; ``detach`` takes them out.

    Args:
        model: a detectron2 model of any meta-architecture, in ``model.backbone`` its backbone.
        fields: fitted to this model.
        latency, strength, motion: see FieldStream and MotionEstimator. Frame by frame, as
            DefaultPredictor calls the model, the latency is 0 whatever this says; detect_video
            heeds it.

    Returns:
        the model.

    Raises:
        InputError: the model has no backbone with named features, has fields, or is not the one
            that they were fitted to.
    """
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, SteadyBackbone):
        raise InputError("the model has fields already: detach them first")
    fields.check(model)
    assert isinstance(backbone, Backbone)
    device = next(backbone.parameters()).device
    model.backbone = SteadyBackbone(
        backbone, fields.to(device), latency=latency, strength=strength, motion=motion
    ).train(backbone.training)
    return model


def detach(model: nn.Module) -> nn.Module:
    """Give a model its own backbone back; returns the model."""
    if isinstance(model.backbone, SteadyBackbone):
        model.backbone = model.backbone.backbone
    return model


@torch.no_grad()
def detect_video(
    model: nn.Module, frames: Iterable[Frame], batch: int = 1
) -> Iterator[dict[str, Any]]:
    """What a model with fields finds on the frames of one video, in order.

    A frame's result comes ``latency`` frames after it was read, and as many are kept.

    Args:
        model: as ``attach`` returns it.
        frames: dicts as the model takes them.
        batch: frames that the backbone sees at a time.

    Yields:
        what ``model([frame])`` has for each frame.
    """
    steady = model.backbone
    assert isinstance(steady, SteadyBackbone)
    stream = FieldStream(steady.fields, steady.latency, steady.strength)
    if steady.motion is not None:
        steady.motion.reset()
    waiting: deque[Frame] = deque()

    def detected(done: Iterator[Features]) -> Iterator[dict[str, Any]]:
        for features in done:
            with steady.serving(features):
                (result,) = model([waiting.popleft()])
            yield result

    for frame, images, features in _described(model, steady, frames, batch):
        waiting.append(frame)
        motion = None if steady.motion is None else steady.motion(images)
        yield from detected(stream.push(features, motion))
    yield from detected(stream.flush())


def _described(
    model: nn.Module, steady: SteadyBackbone, frames: Iterable[Frame], batch: int
) -> Iterator[tuple[Frame, Tensor, Features]]:
    """Frames with their images and features, the backbone run on ``batch`` frames at a time."""
    source = iter(frames)
    size = None
    while group := list(islice(source, batch)):
        images = [steady.images_of(model, frame) for frame in group]
        for image in images:
            if size is not None and image.shape != size:
                raise InputError(
                    f"frames of one video differ in size: {_size(size)} and then "
                    f"{_size(image.shape)} pixels as the model sees them; split the video there"
                )
            size = image.shape
        features = steady.backbone(torch.cat(images))
        for index, frame in enumerate(group):
            yield frame, images[index], _row(features, index)


def _row(features: Features, index: int) -> Features:
    return {name: maps[index : index + 1] for name, maps in features.items()}


def _size(shape: torch.Size) -> str:
    return f"{shape[3]}x{shape[2]}"
