"""What fields are fitted to: clips with spoilt frames in, features of the clear frames out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from videogcrf_det.motion.estimate import MotionEstimator
from videogcrf_det.motion.warp import Motion
from videogcrf_det.steady.attach import SteadyBackbone
from videogcrf_det.steady.clips import Image
from videogcrf_det.steady.spoil import spoil_clip

CLEAR_WEIGHT = 3.0  # of clear frames in the loss


@dataclass
class SpoiltClip:
    """A clip and what a frozen backbone makes of it. V frames, features (V, C, h, w) by name."""

    frames: list[Image]  # as they are seen, some of them spoilt
    spoilt: list[bool]
    seen: dict[str, Tensor]  # features of what is seen
    clear: dict[str, Tensor]  # features of the same frames before they were spoilt
    valid: dict[str, Tensor]  # (1, 1, h, w) bool: not padding
    images: Tensor  # (V, 3, H, W) of the clear frames, as the backbone takes them
    size: tuple[int, int]  # (height, width) of a frame without padding
    motion: list[Motion | None]


class ClipReader:
    """Spoils clips and runs the backbone of a frozen detector on them."""

    def __init__(
        self,
        model: nn.Module,
        backbone: SteadyBackbone,
        *,
        rgb: bool = False,
        motion: MotionEstimator | None = None,
        cuts: float = 0.15,
    ) -> None:
        """
        Args:
            model: in evaluation mode, with ``backbone`` in the place of its own.
            rgb: the model takes RGB images, not BGR ones.
            motion: None for links to the same places.
            cuts: share of the clips in which another one takes over, as where shots are cut.
        """
        self.model, self.backbone = model, backbone
        self.rgb, self.motion, self.cuts = rgb, motion, cuts

    @torch.no_grad()
    def __call__(
        self, frames: Sequence[Image], rng: np.random.Generator, other: Sequence[Image] = ()
    ) -> SpoiltClip:
        """Spoil some of the frames of a clip; see SpoiltClip.

        Args:
            frames: (H, W, 3) BGR.
            rng: draws which frames, and how.
            other: frames of another clip, for cuts.
        """
        frames = list(frames)
        if other and frames[0].shape == other[0].shape and rng.random() < self.cuts:
            cut = int(rng.integers(1, len(frames)))
            frames[cut:] = other[cut : len(frames)]
        spoilt = spoil_clip(frames, rng)
        shown = [spoilt.get(index, frame) for index, frame in enumerate(frames)]
        tensors = torch.cat([self._images(frame) for frame in (*frames, *spoilt.values())])
        made = self.backbone.backbone(tensors)
        clear = {name: maps[: len(frames)].float() for name, maps in made.items()}
        seen = {name: maps.clone() for name, maps in clear.items()}
        for name, maps in made.items():
            seen[name][list(spoilt)] = maps[len(frames) :].float()
        height, width = frames[0].shape[:2]
        padded = tensors.shape[2:]
        valid = {n: _valid(m, (height, width), padded) for n, m in clear.items()}
        return SpoiltClip(
            shown,
            [index in spoilt for index in range(len(frames))],
            seen,
            clear,
            valid,
            tensors[: len(frames)],
            (height, width),
            self._motion(shown),
        )

    def _images(self, frame: Image) -> Tensor:
        pixels = np.ascontiguousarray((frame[:, :, ::-1] if self.rgb else frame).transpose(2, 0, 1))
        height, width = frame.shape[:2]
        record = {"image": torch.from_numpy(pixels), "height": height, "width": width}
        return self.backbone.images_of(self.model, record)

    def _motion(self, frames: Sequence[Image]) -> list[Motion | None]:
        if self.motion is None:
            return [None] * len(frames)
        self.motion.reset()
        return [self.motion(self._images(frame)) for frame in frames]


def _valid(maps: Tensor, size: tuple[int, int], padded: Sequence[int]) -> Tensor:
    """(1, 1, h, w): whether cells of feature maps (M, C, h, w) lie in the frame."""
    height, width = maps.shape[2:]
    rows = torch.arange(height, device=maps.device) * padded[0] < size[0] * height
    columns = torch.arange(width, device=maps.device) * padded[1] < size[1] * width
    return (rows[:, None] & columns)[None, None]


def errors(clip: SpoiltClip, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is missing of the clear features, in units of their variance.

    Args:
        made: features (V, C, h, w) by name.

    Returns:
        (V,) by name: mean squared errors over valid cells and channels, divided by the variance of
        the clear features there.
    """
    result = {}
    for name, maps in made.items():
        inside = clip.valid[name][0, 0]
        clear = clip.clear[name][:, :, inside]  # (V, C, cells)
        variance = clear.var(dim=(0, 2), correction=0).mean().clamp(min=1e-12)
        result[name] = (maps[:, :, inside] - clear).square().mean((1, 2)) / variance
    return result


def feature_loss(clip: SpoiltClip, made: Mapping[str, Tensor]) -> Tensor:
    """The mean of ``errors`` over frames and levels, with gradients: how much is not restored.

    Clear frames count CLEAR_WEIGHT times: a small change of what was right costs a detector more
    than a large error that stays where nothing could be seen.
    """
    weights = torch.tensor([1.0 if spoilt else CLEAR_WEIGHT for spoilt in clip.spoilt])
    found = errors(clip, made).values()
    return torch.stack([(error * weights.to(error)).mean() for error in found]).mean()
