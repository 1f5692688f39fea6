"""The base of all random fields: scalars, couplings of frames, and clips to infer on."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogcrf_det.gcrf.embedding import Embeddings
from videogcrf_det.gcrf.graph import temporal_coupling
from videogcrf_det.gcrf.inference import SOLVERS
from videogcrf_det.gcrf.windows import average_windows

Item = TypeVar("Item", bound=tuple[Any, ...])


class RandomField(nn.Module):
    """A Gaussian random field over clips: ``embed`` says what is coupled, ``infer`` solves for it.

    Args:
        neighbourhood, self_coupling, distance_decay: see temporal_coupling. With
            ``learn_distance_decay`` the start of a parameter that stays positive.
        lam: lam > 0. With ``learn_lam`` the start of a parameter that stays positive.
        coupled: False lets no position see another one: the same layers without any exchange, for
            comparison.
        solver, rtol, max_iters: see gcrf_inference.

    Raises:
        ValueError: an argument has no such value; the message says which are possible.
    """

    # labels of unaries (M, L, H, W), of which each has couplings of its own; None: all channels of
    # what ``infer`` takes have the same
    num_labels: int | None = None
    # cells along each side of blocks that are coupled by themselves; 0: all positions together
    block_size = 0

    def __init__(
        self,
        *,
        neighbourhood: Sequence[int] = (),
        self_coupling: str = "psd",
        distance_decay: float | None = None,
        learn_distance_decay: bool = False,
        lam: float = 1.0,
        learn_lam: bool = False,
        coupled: bool = True,
        solver: str = "auto",
        rtol: float = 1e-5,
        max_iters: int = 200,
    ) -> None:
        super().__init__()
        if solver not in SOLVERS:
            raise ValueError(f"unknown solver {solver!r}: use one of {', '.join(SOLVERS)}")
        if not lam > 0:
            raise ValueError(f"lam must be above 0, got {lam}")
        if learn_distance_decay and distance_decay is None:
            raise ValueError("learn_distance_decay needs a distance_decay to start from")
        temporal_coupling(1, neighbourhood, self_coupling, distance_decay)  # checks the names now
        self.neighbourhood = tuple(neighbourhood)
        self.self_coupling = self_coupling
        self.coupled = coupled
        self.solver = solver
        self.rtol = rtol
        self.max_iters = max_iters
        # as logarithms they stay positive, and fixed ones travel with the weights as well
        self._add_scalar("log_lam", lam, learn_lam)
        self._add_scalar("log_distance_decay", distance_decay, learn_distance_decay)

    log_lam: Tensor
    log_distance_decay: Tensor | None

    def _add_scalar(self, name: str, value: float | None, learn: bool) -> None:
        log = None if value is None else torch.tensor(math.log(value))
        if learn and log is not None:
            self.register_parameter(name, nn.Parameter(log))
        else:
            self.register_buffer(name, log)

    @property
    def lam(self) -> Tensor:
        """lam, a positive scalar."""
        return at_least_float32(self.log_lam).exp()

    def coupling(self, num_frames: int) -> Tensor:
        """W (V, V) for clips of V frames, on the CPU."""
        log_decay = self.log_distance_decay
        decay = None if log_decay is None else at_least_float32(log_decay).exp().cpu()
        return temporal_coupling(num_frames, self.neighbourhood, self.self_coupling, decay)

    def embed(self, features: Tensor, valid: Tensor) -> Embeddings:
        """The embeddings that couple positions, from features (M, C, H, W) of frames.

        Embeddings are in float32, under autocast too: half precision is not enough. They are zero
        at padding, where ``valid`` (M, 1, H, W) is 0 and not 1: it is coupled to nothing.
        """
        raise NotImplementedError

    def infer(self, unary: Tensor, embeddings: Embeddings, lengths: Sequence[int]) -> Tensor:
        """The solution for unaries of clips, (M, C, H, W), in float32; arbitrary at padding.

        Args:
            unary: (M, C, H, W), frames of clips that follow one another.
            embeddings: as ``embed`` gives them.
            lengths: frames of each clip, with sum M.
        """
        unary = at_least_float32(unary)
        if not self.coupled:
            return self._alone(unary, embeddings)
        if len(set(lengths)) == 1:

            def as_clips(part: Tensor) -> Tensor:
                return part.unflatten(0, (-1, lengths[0]))

            return self._solve(as_clips(unary), embeddings.map(as_clips)).flatten(0, 1)
        solved: dict[int, Tensor] = {}
        for length in dict.fromkeys(lengths):  # clips of one length together
            of_length = [i for i, other in enumerate(lengths) if other == length]

            def chosen(part: Tensor, clips: Sequence[int] = of_length) -> Tensor:
                of_clips = part.split(list(lengths))
                return torch.stack([of_clips[i] for i in clips])

            found = self._solve(chosen(unary), embeddings.map(chosen))
            solved |= zip(of_length, found.unbind(), strict=True)
        return torch.cat([solved[i] for i in range(len(lengths))])

    def infer_video(
        self, frames: Iterable[Item], length: int, step: int = 1
    ) -> Iterator[tuple[Item, Tensor]]:
        """The solution for a video of any length, frame by frame: the means of ``infer``
        over the windows that a frame is in.

        Args:
            frames: of each frame a tuple that begins with its unary (1, C, h, w) and its
                embeddings. Frames may differ in size.
            length, step: see average_windows.

        Yields:
            each tuple with (1, C, h, w), in float32.
        """
        shared = ((frame, self.share(*frame[:2])) for frame in frames)

        def couple(window: Sequence[tuple[Item, Any]]) -> Sequence[Tensor]:
            return self.couple([made for _, made in window])

        for (frame, made), mean in average_windows(shared, couple, length, step):
            yield frame, self.inferred(made, mean).view_as(frame[0])

    def share(self, unary: Tensor, embeddings: Embeddings) -> Any:
        """The part of a frame that serves all windows that it is in."""
        return at_least_float32(unary), embeddings

    def couple(self, window: Sequence[Any]) -> Sequence[Tensor]:
        """For each frame of a window, of which ``share`` made something, a tensor of which the mean
        over windows is to be taken."""
        unaries = [unary for unary, _ in window]
        sizes = [unary.shape[2:] for unary in unaries]
        largest = [max(lengths) for lengths in zip(*sizes, strict=True)]

        def padded(maps: Tensor) -> Tensor:
            spare = [whole - own for whole, own in zip(largest, maps.shape[-2:], strict=True)]
            return F.pad(maps, (0, spare[1], 0, spare[0]))

        embeddings = [
            own.map(lambda part, size=size: padded(part.unflatten(2, (-1, *size))).flatten(2))
            for (_, own), size in zip(window, sizes, strict=True)
        ]
        unary = torch.cat([padded(each) for each in unaries])
        found = self.infer(unary, Embeddings.cat(embeddings), [len(window)])
        return [found[i : i + 1, :, :height, :width] for i, (height, width) in enumerate(sizes)]

    def inferred(self, shared: Any, mean: Tensor) -> Tensor:
        """The solution for a frame, from what ``share`` made and that mean."""
        return mean

    def _alone(self, unary: Tensor, embeddings: Embeddings) -> Tensor:
        """``infer`` without any exchange."""
        raise NotImplementedError

    def _solve(self, unary: Tensor, embeddings: Embeddings) -> Tensor:
        """``infer`` for clips of one length: unary (B, V, C, H, W), embeddings (B, V, D, N)."""
        raise NotImplementedError

    @property
    def _solver_options(self) -> dict[str, Any]:
        return {"solver": self.solver, "rtol": self.rtol, "max_iters": self.max_iters}


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def normalised(features: Tensor, valid: Tensor) -> Tensor:
    """Features of mean 0 and variance 1 over the channels of each position, 0 at padding.

    Neither the strength of the coupling nor the condition of the system then depends on their
    scale.
    """
    variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
    return (features - mean) * (torch.rsqrt(variance + 1e-5) * valid)


def root_of_positions(valid: Tensor) -> Tensor:
    """sqrt(P) (M, 1, 1, 1), P being a frame's positions without padding."""
    return valid.sum(dim=(2, 3), keepdim=True).clamp(min=1).sqrt()
