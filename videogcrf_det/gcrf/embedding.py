"""Embeddings, which couple positions: made from features, by convolutions."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_CONFIDENCE = 4.0  # confidences are between its exponential and 1 over that


class Embeddings(NamedTuple):
    """The embeddings of M frames, with N unknowns a frame."""

    spatial: Tensor | None  # A (M, Ds, N); None where switched off
    temporal: Tensor | None  # T (M, Dt, N), likewise
    # (M, 1, N), how much the unaries are trusted, above 0; for fields that average
    confidence: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Embeddings":
        """Embeddings of the parts that ``change`` returns."""
        return Embeddings(*(None if part is None else change(part) for part in self))

    @staticmethod
    def cat(of_frames: "Sequence[Embeddings]") -> "Embeddings":
        """Embeddings of several frames, one after the other; all have the same parts."""
        parts = zip(*of_frames, strict=True)
        return Embeddings(*(None if part[0] is None else torch.cat(part) for part in parts))


class EmbeddingBranch(nn.Module):
    """``num_convs`` 3x3 convolutions with ReLU, then a 1x1 convolution to the embedding.

    The weights of the last layer start small but not at zero: the gradient with respect to an
    embedding is proportional to the embedding, so zero is a saddle from which training never moves.

    Args:
        in_channels, conv_dim, num_convs: of the 3x3 convolutions.
        out_channels: D, or D times the number of labels.
        bias: of the last layer at first.
    """

    def __init__(
        self,
        in_channels: int,
        conv_dim: int,
        num_convs: int,
        out_channels: int,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [conv_dim] * num_convs
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.embed = nn.Conv2d(widths[-1], out_channels, kernel_size=1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, bias if name == "embed.bias" else 0.0)
            elif name.startswith("convs"):
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.normal_(parameter, std=0.1 / math.sqrt(widths[-1]))

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Embed features (M, C, H, W), zero on padding, where ``valid`` (M, 1, H, W) is 0, else 1.

        Padding is zero before every 3x3 layer, which is what that sees beyond the border of a frame
        without padding. Embeddings at padding are left for the caller to drop. Weights are used in
        the precision of the features, whatever their own: a module in half precision embeds in
        float32.
        """
        for index, conv in enumerate(self.convs):
            features = _convolve(conv, features * valid if index else features).relu_()
        return _convolve(self.embed, features)


def _convolve(layer: nn.Module, features: Tensor) -> Tensor:
    """A convolution of stride 1 that keeps the size, in the dtype of the features."""
    weight, bias = (parameter.to(features.dtype) for parameter in layer.parameters())
    return F.conv2d(features, weight, bias, padding=weight.shape[2] // 2)


def unit_embedding(output: Tensor) -> Tensor:
    """Embeddings (M, D, H, W) of norm 1, not negative, from a branch: roots of a softmax."""
    return (output.log_softmax(1) / 2).exp()


def log_confidence(output: Tensor) -> Tensor:
    """The logarithm of confidences, from a branch: between -LOG_CONFIDENCE and LOG_CONFIDENCE."""
    return LOG_CONFIDENCE * torch.tanh(output / LOG_CONFIDENCE)
