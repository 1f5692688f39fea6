"""The objective of a fit: clips with spoilt frames in, features of the clear frames out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from videogcrf_det.motion.warp import Motion
from videogcrf_det.steady.attach import SteadyBackbone
from videogcrf_det.steady.clips import Image
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.spoil import spoil_clip

CUTS = 0.15
THROUGHOUT = 0.5  # of the clips that refinements are fitted to, spoilt in all of their frames
CLEAR_WEIGHT = 3.0  # of clear frames in the loss


@dataclass
class SpoiltClip:
    """A clip and what a frozen backbone makes of it. V frames, features (V, C, h, w) by name."""

    spoilt: list[bool]
    seen: dict[str, Tensor]  # features of what is seen
    clear: dict[str, Tensor]  # features of the same frames before they were spoilt
    valid: dict[str, Tensor]  # (1, 1, h, w) bool: not padding
    images: Tensor  # (V, 3, H, W) of the clear frames, as the backbone takes them
    pictures: Tensor  # (V, 3, H, W) of what is seen; see Pictures
    size: tuple[int, int]  # (height, width) of a frame without padding
    motion: list[Motion | None]


class ClipReader:
    """Spoils clips and runs the backbone of a frozen detector on them."""

    def __init__(self, detector: Detector) -> None:
        """
        Args:
            detector: with fields attached.
        """
        self.detector = detector
        assert isinstance(detector.model.backbone, SteadyBackbone)
        self.backbone = detector.model.backbone

    @torch.no_grad()
    def __call__(
        self,
        clips: Sequence[Sequence[Image]],
        rng: np.random.Generator,
        *,
        throughout: bool = False,
    ) -> SpoiltClip:
        """Spoil some of the frames of a clip, or all; see SpoiltClip.

        Args:
            clips: one of frames (H, W, 3) BGR; and another one, which takes over in CUTS of the
                clips, as where shots are cut, or none for no cuts.
            rng: draws which frames, and how.
            throughout: spoil all frames.
        """
        frames = list(clips[0])
        other = clips[1] if len(clips) > 1 else ()
        if other and frames[0].shape == other[0].shape and rng.random() < CUTS:
            cut = int(rng.integers(1, len(frames)))
            frames[cut:] = other[cut : len(frames)]
        spoilt = spoil_clip(frames, rng, throughout=throughout)
        tensors = torch.cat([self._images(f) for f in (*frames, *spoilt.values())])
        made = self.backbone.backbone(tensors)
        clear = {name: maps[: len(frames)].float() for name, maps in made.items()}
        seen = {name: maps.clone() for name, maps in clear.items()}
        for name, maps in made.items():
            seen[name][list(spoilt)] = maps[len(frames) :].float()
        height, width = frames[0].shape[:2]
        padded = tensors.shape[2:]
        pictures, changed = self.backbone.pictures(tensors).tensor_split([len(frames)])
        pictures = pictures.clone()
        pictures[list(spoilt)] = changed
        valid = {n: valid_cells(m, (height, width), padded) for n, m in clear.items()}
        return SpoiltClip(
            [index in spoilt for index in range(len(frames))],
            seen,
            clear,
            valid,
            tensors[: len(frames)],
            pictures,
            (height, width),
            self._motion(pictures),
        )

    def _images(self, frame: Image) -> Tensor:
        return self.backbone.images_of(self.detector.model, self.detector.record(frame))

    def _motion(self, pictures: Tensor) -> list[Motion | None]:
        """Between successive frames as they are seen."""
        motion = self.backbone.motion
        if motion is None:
            return [None] * len(pictures)
        motion.reset()
        return [motion(picture[None]) for picture in pictures]


def valid_cells(maps: Tensor, size: tuple[int, int], padded: Sequence[int]) -> Tensor:
    """(1, 1, h, w): whether cells of feature maps (M, C, h, w) lie in the frame."""
    height, width = maps.shape[2:]
    rows = torch.arange(height, device=maps.device) * padded[0] < size[0] * height
    columns = torch.arange(width, device=maps.device) * padded[1] < size[1] * width
    return (rows[:, None] & columns)[None, None]


def errors(clip: SpoiltClip, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The error against the clear features, in units of their variance.

    Args:
        made: features (V, C, h, w) by name; variances among them are left out.

    Returns:
        (V,) by name: mean squared errors over valid cells and channels, divided by the variance of
        the clear features there.
    """
    result = {}
    for name, maps in made.items():
        if name not in clip.clear:
            continue
        result[name] = relative_errors(maps, clip.clear[name], clip.valid[name])
    return result


def relative_errors(maps: Tensor, clear: Tensor, valid: Tensor) -> Tensor:
    """(V,): ``errors`` of maps (V, C, h, w) at one level, where ``valid`` (1, 1, h, w) is true."""
    inside = valid[0, 0]
    target = clear[:, :, inside]  # (V, C, cells)
    variance = target.var(dim=(0, 2), correction=0).mean().clamp(min=1e-12)
    return (maps[:, :, inside] - target).square().mean((1, 2)) / variance


def feature_loss(clip: SpoiltClip, made: Mapping[str, Tensor]) -> Tensor:
    """The mean of ``errors`` over frames and levels, with gradients: how much is not restored.

    Clear frames count CLEAR_WEIGHT times: a small change of what was right costs a detector more
    than a large error that stays where nothing could be seen.
    """
    weights = torch.tensor([1.0 if spoilt else CLEAR_WEIGHT for spoilt in clip.spoilt])
    found = errors(clip, made).values()
    return torch.stack([(error * weights.to(error)).mean() for error in found]).mean()
