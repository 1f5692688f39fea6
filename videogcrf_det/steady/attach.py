"""Fields in a live detectron2 model of any meta-architecture that has a backbone.

The model stays as it is, but for its backbone, in whose place stands a SteadyBackbone. Frame by
frame that gives coupled features at once (latency 0). ``detect_video`` looks ahead: it stops the
model's own forward at the backbone to get at the images, runs the backbone on several frames at a
time, couples, and then lets the model's own forward take the features that are ready. Nothing of
what is before or behind the backbone is known here.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from videogcrf_det.errors import InputError
from videogcrf_det.motion.estimate import MotionEstimator
from videogcrf_det.motion.warp import Motion
from videogcrf_det.steady.fields import Fields
from videogcrf_det.steady.ready_made import ReadyMade
from videogcrf_det.steady.stream import Descriptions, Features, FieldStream, described_row
from videogcrf_det.streams import in_step

Frame = dict[str, Any]


class _ImagesReached(Exception):
    """Ends a model's forward at its backbone."""


class Pictures:
    """Pictures from a model's images (M, 3, H, W): of that shape, BGR from 0 to 1."""

    def __init__(self, model: Any) -> None:
        if not hasattr(model, "pixel_mean") or not hasattr(model, "pixel_std"):
            raise InputError(
                f"{type(model).__name__} has no pixel_mean and pixel_std, which say what its "
                "images show: use another meta-architecture"
            )
        self.mean, self.std = model.pixel_mean.view(3, 1, 1), model.pixel_std.view(3, 1, 1)
        self.rgb = getattr(model, "input_format", None) == "RGB"

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        pictures = (images.float() * std + mean) / 255
        return pictures.flip(1) if self.rgb else pictures


class SteadyBackbone(Backbone):
    """Stands in for a backbone whose features fields couple over time.

    Called like the backbone, it takes its images (M, 3, H, W) for the next M frames of a video and
    returns their features coupled with those of all frames before. A frame of another size starts
    a new video, and so does ``reset``.
    """

    def __init__(
        self,
        backbone: Backbone,
        fields: Fields,
        pictures: "Pictures",
        *,
        latency: int | None = 0,
        strength: float = 1.0,
        motion: MotionEstimator | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fields = fields
        self.pictures = pictures
        self.latency = latency
        self.strength = strength
        self.motion = motion
        self._stop_at_images = False
        self._images: Tensor | None = None
        self._ready: Features | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far: the next one begins a new video."""
        self._stream = FieldStream(0, self.strength)
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
            rows: list[Features] = []
            for step in self.steps(images):
                rows += self._stream.push(*step)
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def steps(self, images: Tensor) -> Iterator[tuple[Features, Descriptions, Motion | None]]:
        """The arguments of FieldStream.push for each of images (M, 3, H, W), successive frames."""
        pictures = self.pictures(images)
        with self._motions(pictures) as motions:  # while the backbone runs
            features = self.backbone(images)
            described = self.fields.describe(features, pictures)
        for index, motion in enumerate(motions):
            yield _row(features, index), described_row(described, index), motion

    @contextmanager
    def _motions(self, pictures: Tensor) -> Iterator[list[Motion | None]]:
        """The motion to each of the pictures (M, 3, H, W), filled in at the end of the block: it is
        estimated in a thread, which neither Python nor a GPU keeps waiting."""
        estimate, motions = self.motion, list[Motion | None]([None] * len(pictures))
        if estimate is None:
            yield motions
            return
        seen, device = pictures.cpu().split(1), pictures.device
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(lambda: [estimate(picture, device) for picture in seen])
            yield motions
        motions[:] = found.result()

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
        """The backbone's."""
        return self.backbone.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """The backbone's."""
        return getattr(self.backbone, "padding_constraints", {})  # detectron2 0.6 has none


def attach(
    model: nn.Module,
    fields: Fields | None = None,
    *,
    latency: int | None = 0,
    strength: float = 1.0,
    motion: MotionEstimator | None = None,
) -> nn.Module:
    """Put fields between the backbone and the heads of a live model; ``detach`` takes them out.

    Args:
        model: a detectron2 model of any meta-architecture, in ``model.backbone`` its backbone.
        fields: fitted to this model; None: those that come with the package.
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
    fields = ReadyMade.load() if fields is None else fields
    fields.check(model)
    assert isinstance(backbone, Backbone)
    device = next(backbone.parameters()).device
    model.backbone = SteadyBackbone(
        backbone,
        fields.to(device),
        Pictures(model),
        latency=latency,
        strength=strength,
        motion=motion,
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
    """The outputs of a model with fields for the frames of one video, in order.

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
    stream = FieldStream(steady.latency, steady.strength)
    if steady.motion is not None:
        steady.motion.reset()

    def coupled(source: Iterator[Frame]) -> Iterator[Features]:
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
            for step in steady.steps(torch.cat(images)):
                yield from stream.push(*step)
        yield from stream.flush()

    for frame, (features,) in in_step(frames, [coupled]):
        with steady.serving(features):
            (result,) = model([frame])
        yield result


def _row(features: Features, index: int) -> Features:
    return {name: maps[index : index + 1] for name, maps in features.items()}


def _size(shape: torch.Size) -> str:
    return f"{shape[3]}x{shape[2]}"
