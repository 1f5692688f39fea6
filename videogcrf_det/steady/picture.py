"""Trust in features from the picture alone, place by place, whatever the backbone."""

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from videogcrf_det.gcrf.embedding import LOG_CONFIDENCE

FINEST = 4  # pixels a cell of the finest level; every further level has cells twice as large
LEVELS = 5
DETAILS = 3  # bands of details, each twice as coarse as the one before


class PictureBranch(nn.Module):
    """Maps of pictures from which a chain's embeddings and confidences are made, in a pyramid.

    Convolutions of stride 2 lead to cells of 4, 8, ... 64 pixels; what coarse levels see is added
    to finer ones. Beside what convolutions make of them, pictures are seen as they are, and by the
    energy of their details: without that, networks of this size do not learn to see blur, which is
    something that is missing. Features get the maps of the level whose cells are nearest to theirs
    in size.

    Args:
        dim: D, the size of embeddings.
        width: channels of all levels.
    """

    def __init__(self, *, dim: int = 16, width: int = 24) -> None:
        super().__init__()
        self.options = {"dim": dim, "width": width}
        self.stem = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, width, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
        )
        self.mix = nn.Conv2d(width + 3 + DETAILS, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(LEVELS - 1)
        )
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(LEVELS))
        self.embed = nn.ModuleList(nn.Conv2d(width, dim + 1, 1) for _ in range(LEVELS))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for name, parameter in self.embed.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter[-1:], LOG_CONFIDENCE / 2)
            else:
                nn.init.normal_(parameter, std=0.1 / math.sqrt(width))

    def forward(self, pictures: Tensor, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """
        Args:
            pictures: (M, 3, H, W), BGR from 0 to 1.
            features: maps (M, C, h, w) by name, whose sizes alone matter.

        Returns:
            (M, D + 1, h, w) by name: of embeddings, and of the confidence. In float32.
        """
        with torch.autocast(pictures.device.type, enabled=False):
            levels = self._pyramid(pictures.float())
            made: dict[int, Tensor] = {}
            result = {}
            for name, maps in features.items():
                cell = pictures.shape[2] / maps.shape[2]  # pixels
                level = min(max(round(math.log2(cell / FINEST)), 0), LEVELS - 1)
                if level not in made:
                    smoothed = F.relu(self.smooth[level](levels[level]))
                    made[level] = self.embed[level](smoothed)
                result[name] = made[level]
                if maps.shape[2:] != made[level].shape[2:]:
                    result[name] = F.interpolate(made[level], maps.shape[2:], mode="bilinear")
            return result

    def _pyramid(self, pictures: Tensor) -> list[Tensor]:
        """Maps (M, width, h, w) of all levels, the finest first."""
        made = self.stem(2 * pictures - 1)
        size = int(made.shape[2]), int(made.shape[3])
        colours = 2 * mean_pool(pictures, size) - 1
        mixed = self.mix(torch.cat([made, colours, *energies(pictures, size)], 1))
        levels = [F.relu(mixed)]
        for down in self.down:
            levels.append(F.relu(down(levels[-1])))
        for index in reversed(range(LEVELS - 1)):
            coarse = F.interpolate(levels[index + 1], levels[index].shape[2:], mode="nearest")
            levels[index] = levels[index] + coarse
        return levels


def energies(pictures: Tensor, size: tuple[int, int]) -> list[Tensor]:
    """Logarithms of the mean squares of details of pictures (M, 3, H, W).

    Returns:
        DETAILS maps (M, 1, *size), about -1.5 where there is nothing, and 2 where there is much.
    """
    grey = pictures.mean(1, keepdim=True)
    bands = []
    for _ in range(DETAILS):
        smooth = F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        energy = mean_pool((grey - smooth).square(), size)
        bands.append(((energy + 1e-6).log() + 8) / 4)
        grey = F.avg_pool2d(grey, 2)
    return bands


def mean_pool(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """``F.adaptive_avg_pool2d``; in the export to ONNX, which knows that for integer factors alone,
    as products with the weights along each side."""
    if not torch.onnx.is_in_onnx_export():
        return F.adaptive_avg_pool2d(maps, size)
    rows, columns = (
        torch.from_numpy(pooling_weights(int(maps.shape[dim]), size[dim])).to(maps)
        for dim in (-2, -1)
    )
    return rows @ maps @ columns.T


def pooling_weights(length: int, parts: int) -> NDArray[np.float32]:
    """What each of ``length`` values counts in the means of ``parts`` (parts, length)."""
    number, place = np.arange(parts)[:, None], np.arange(length)
    inside = (place >= number * length // parts) & (place < -(-(number + 1) * length // parts))
    return np.asarray(inside / inside.sum(1, keepdims=True), np.float32)
