"""The averaging field as a chain over time: what a frame is trusted with, and what goes on."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videogcrf_det.gcrf.embedding import (
    LOG_CONFIDENCE,
    EmbeddingBranch,
    log_confidence,
    unit_embedding,
)


class Described(NamedTuple):
    """Embeddings and confidences of M frames, cell by cell."""

    embedding: Tensor  # t (M, D, H, W), not negative, of norm 1 at every cell
    confidence: Tensor  # c (M, 1, H, W), above 0
    # (M, C, H, W), what is to be added to the features before; see Refinement
    change: Tensor | None = None
    # a scalar that variances are multiplied with; None where they are not asked for
    unit: Tensor | None = None


class Refinement(nn.Module):
    """A change of the features before they are coupled, for frames that are bad throughout.

    An average carries over what neighbours show; where all of them are alike, coded at a low rate,
    say, they are wrong in the same way, which no average removes. Three 3x3 convolutions see the
    normalised features of a frame, and what they give counts 1 / (1 + c): nearly all where the
    confidence c is low, nearly nothing where it is high. The last of them starts at zero.

    Args:
        in_channels: C of the features.
        channels: between the convolutions.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, in_channels, kernel_size=3, padding=1),
        )
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, confidence: Tensor) -> Tensor:
        """The change of features (M, C, H, W) with confidences (M, 1, H, W)."""
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        deviation = (variance + 1e-5).sqrt()
        change: Tensor = self.layers((features - mean) / deviation)
        return change * (deviation / (1 + confidence))


class ChainField(nn.Module):
    """Confidences and links of a chain of frames, from their features.

    Each cell of a frame is coupled to the same cell of the frame before and of the frame after, or
    to where motion says it was and will be. Confidences are between e^-4 and e^4, the link of two
    frames is the inner product of their embeddings, between 0 and 1; see gcrf/chain.py for what
    they mean. Features are brought to mean 0 and variance 1 over the channels of each cell first.

    Args:
        in_channels: C of the features.
        dim: D, the size of embeddings.
        num_convs, conv_dim: 3x3 convolutions with ReLU that confidence and embedding share, and
            their channels, to which features are reduced first.
        refine: channels of a Refinement of the features; 0: none.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        dim: int = 16,
        num_convs: int = 2,
        conv_dim: int = 32,
        refine: int = 0,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, conv_dim, kernel_size=1)
        nn.init.kaiming_normal_(self.reduce.weight, nonlinearity="relu")
        self.branch = EmbeddingBranch(conv_dim, conv_dim, num_convs, dim + 1)
        bias = self.branch.embed.bias
        assert bias is not None
        nn.init.constant_(bias[-1:], LOG_CONFIDENCE / 2)  # trusted unless there is a reason
        self.refinement = Refinement(in_channels, refine) if refine else None

    def forward(self, features: Tensor) -> Tensor:
        """Maps (M, D + 1, H, W) of features (M, C, H, W), in float32; see ``described``.

        Padding is described as all else: no cell is coupled to another place.
        """
        with torch.autocast(features.device.type, enabled=False):
            reduced = self._reduce(features.float()).relu_()
            maps: Tensor = self.branch(reduced, torch.ones_like(reduced[:, :1]))
            return maps

    def _reduce(self, features: Tensor) -> Tensor:
        """The 1x1 convolution of normalised features, which are never made: it is linear."""
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        weight, bias = self.reduce.weight, self.reduce.bias
        assert bias is not None
        sums = weight.sum(1)[None]  # (1, conv_dim, 1, 1)
        centred = F.conv2d(features, weight) - mean * sums
        return centred * torch.rsqrt(variance + 1e-5) + bias[:, None, None]


def described(maps: Tensor) -> Described:
    """The description in maps (M, D + 1, H, W): D of the embedding, one of the confidence."""
    return Described(unit_embedding(maps[:, :-1]), log_confidence(maps[:, -1:]).exp())


def link(a: Tensor, b: Tensor) -> Tensor:
    """Links w (M, 1, H, W) of frames with embeddings (M, D, H, W)."""
    return (a * b).sum(1, keepdim=True)
