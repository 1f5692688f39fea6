"""What a random field makes of frames of which little can be seen, compared with what they hide."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def restoration_loss(
    coupled: Mapping[str, Tensor],
    uncoupled: Mapping[str, Tensor],
    clear: Mapping[str, Tensor],
    sizes: Mapping[str, Sequence[tuple[int, int]]],
) -> Tensor:
    """The squared error that couplings leave of what degradation did to features, mean over names.

    1 if they change nothing, 0 if coupled features are those of clear frames. All frames count, so
    that those which nothing was done to are to be left as they are.

    Args:
        coupled: features (M, C, H, W) by name, after the couplings.
        uncoupled: the same before them.
        clear: the same, uncoupled, of the frames without degradation; gets no gradients.
        sizes: by name, (height, width) in cells of each frame; the rest is padding.
    """
    shares = []
    for name, target in clear.items():
        valid = torch.zeros_like(target[:, :1], dtype=torch.bool)
        for mask, (height, width) in zip(valid, sizes[name], strict=True):
            mask[:, :height, :width] = True
        left, done = (
            ((features[name].float() - target.detach().float()).square() * valid).sum()
            for features in (coupled, uncoupled)
        )
        shares.append(left / done.detach().clamp(min=torch.finfo(done.dtype).tiny))
    return torch.stack(shares).mean()
