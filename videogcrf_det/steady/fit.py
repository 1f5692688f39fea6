"""Fitting fields to a detector and to raw footage, without labels."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.motion.estimate import MotionEstimator
from videogcrf_det.progress import progress
from videogcrf_det.steady.attach import SteadyBackbone, attach, detach
from videogcrf_det.steady.clips import Clips, read_clip
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.fields import SteadyFields, variance_of
from videogcrf_det.steady.heads import head_loss
from videogcrf_det.steady.objective import ClipReader, SpoiltClip, errors, feature_loss
from videogcrf_det.steady.stream import steady_clip

OBJECTIVES = ("features", "heads", "both")
WARM_UP = 0.1  # share of the budget in which the learning rate rises
CHECKS = 5  # looks at held-out clips, spread over the budget
PATIENCE = 2  # of them without a gain, before it stops


@dataclass(frozen=True)
class FitOptions:
    """How fields are fitted.

    Attributes:
        iterations, minutes: the budget, one of the two; the other is None.
        clips: of LENGTH frames, an iteration.
        rate: the highest learning rate.
        objective: one of OBJECTIVES: what is compared with that of clear frames.
        motion: link along optical flow, not the same places.
    """

    iterations: int | None = None
    minutes: float | None = None
    clips: int = 2
    rate: float = 1e-2
    objective: str = "features"
    motion: bool = False

    def __post_init__(self) -> None:
        given = [value for value in (self.iterations, self.minutes) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise InputError(
                f"--iterations {self.iterations} and --minutes {self.minutes}: give one of them, "
                "above 0"
            )


def held_out_rng(index: int) -> np.random.Generator:
    """What spoils a held-out clip, always in the same way."""
    return np.random.default_rng([7, index])


@dataclass
class Restored:
    """What fields make of held-out clips: errors of features in units of their variance.

    Attributes:
        spoilt: of spoilt frames, as they are seen; ``smoothed``: after the fields, given the whole
            clip; ``past``: given the frames up to each alone.
        clear, clear_past: the change of clear frames, likewise.
    """

    spoilt: dict[str, float]
    smoothed: dict[str, float]
    past: dict[str, float]
    clear: dict[str, float]
    clear_past: dict[str, float]

    @property
    def loss(self) -> float:
        """What decides when to stop: the mean over levels, spoilt and clear frames alike."""
        kinds = (self.smoothed, self.past, self.clear, self.clear_past)
        return float(np.mean([value for kind in kinds for value in kind.values()]))


class Fitter:
    """One fit, which can be interrupted and gone on with.

    Args:
        detector: stays as it is.
        clips: see collect_clips.
        folder: gets checkpoints and TensorBoard's events.
        options: see FitOptions.
        motion: for ``options.motion``.
    """

    def __init__(
        self,
        detector: Detector,
        clips: Clips,
        folder: Path,
        options: FitOptions,
        motion: MotionEstimator | None = None,
    ) -> None:
        self.detector, self.clips, self.folder, self.options = detector, clips, folder, options
        self.motion = motion
        self.seed = detector.seed
        torch.manual_seed(self.seed)
        device = next(detector.model.parameters()).device
        self.fields = SteadyFields.for_model(detector.model).to(device)
        self.fields.source = detector.source
        self.optimizer = torch.optim.AdamW(
            self.fields.parameters(), options.rate, weight_decay=1e-4
        )
        self.done = 0  # iterations
        self.seconds = 0.0  # spent on them
        self.history: list[tuple[float, float]] = []  # progress and held-out loss
        self.best: dict[str, Any] | None = None

    # ---- going on after an interruption ----------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """What ``resume`` reads."""
        return self.folder / "fit.pth"

    def save(self) -> None:
        """Write all that the rest of the fit depends on."""
        state = {
            "options": asdict(self.options),
            "fingerprint": self.fields.fingerprint,
            "fields": self.fields.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
            "seconds": self.seconds,
            "history": self.history,
            "best": self.best,
        }
        with atomic_write(self.checkpoint) as path:
            torch.save(state, path)

    def resume(self) -> None:
        """Go on where ``save`` was called last; from the start if it was not.

        Raises:
            InputError: that was another fit.
        """
        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["options"] != asdict(self.options):
            raise InputError(
                f"{self.checkpoint} was begun with {state['options']}, and now it is "
                f"{asdict(self.options)}: give the same options, or fit without --resume"
            )
        if state["fingerprint"] != self.fields.fingerprint:
            raise InputError(
                f"{self.checkpoint} is of another detector: give the same, or fit without --resume"
            )
        self.fields.load_state_dict(state["fields"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.seconds = state["done"], state["seconds"]
        self.history = [tuple(pair) for pair in state["history"]]
        self.best = state["best"]

    # ---- fitting ---------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of the budget that is spent."""
        if self.options.iterations is not None:
            return self.done / self.options.iterations
        assert self.options.minutes is not None
        return self.seconds / (60 * self.options.minutes)

    def run(self) -> SteadyFields:
        """Fit until the budget is spent or held-out clips show no more gain; the best fields."""
        bar = progress(
            total=100, desc="fitting", bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        )
        with self._reader() as reader, SummaryWriter(str(self.folder)) as writer, bar:
            while self.progress < 1 and not self._stalled():
                start = time.monotonic()
                loss = self._step(reader)
                self.done += 1
                self.seconds += time.monotonic() - start
                writer.add_scalar("loss", loss, self.done)
                if self.progress * CHECKS >= len(self.history) + 1 or self.progress >= 1:
                    self._check(reader, writer)
                self.save()  # a few MB
                held_out = f", held out {self.history[-1][1]:.4f}" if self.history else ""
                bar.set_postfix_str(f"loss {loss:.4f}{held_out}", refresh=False)
                bar.update(min(100, round(100 * self.progress)) - bar.n)
        if self.best is not None:
            self.fields.load_state_dict(self.best)
        self._set_units()
        return self.fields

    def restored(self) -> Restored:
        """What the fields make of held-out clips, spoilt always in the same way."""
        with self._reader() as reader:
            return self._restored(reader)

    @torch.no_grad()
    def _set_units(self) -> None:
        """Have variances be those of what is missing of held-out clips, on average."""
        found: dict[str, list[torch.Tensor]] = {name: [] for name in self.fields.description}
        if not found:
            return
        with self._reader() as reader:
            for index, folder in enumerate(self.clips.held_out):
                clip = reader(read_clip(folder), held_out_rng(index))
                for made in steady_clip(self.fields, clip.seen, clip.motion):
                    for name, values in found.items():
                        ratio = (made[name] - clip.clear[name]).square() / made[variance_of(name)]
                        values.append(ratio[:, 0, clip.valid[name][0, 0]].mean())
        for name, values in found.items():
            self.fields.log_units[name] += torch.stack(values).mean().log()

    @contextmanager
    def _reader(self) -> Iterator[ClipReader]:
        model = attach(self.detector.model, self.fields)
        backbone = model.backbone
        assert isinstance(backbone, SteadyBackbone)
        try:
            yield ClipReader(self.detector, backbone, self.motion)
        finally:
            detach(model)

    def _step(self, reader: ClipReader) -> float:
        """One iteration; its draws depend on the seed and its number alone."""
        rng = np.random.default_rng([self.seed, self.done])
        self._set_rate()
        self.optimizer.zero_grad()
        total = 0.0
        for _ in range(self.options.clips):
            ours, other = (
                self.clips.train[int(i)] for i in rng.integers(len(self.clips.train), size=2)
            )
            clip = reader(read_clip(ours), rng, read_clip(other))
            loss = self._loss(clip) / self.options.clips
            loss.backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise InputError(
                f"the loss is {total} after {self.done} iterations: features of the detector are "
                "not finite; check its weights"
            )
        nn.utils.clip_grad_norm_(self.fields.parameters(), 1.0)
        self.optimizer.step()
        return total

    def _loss(self, clip: SpoiltClip) -> torch.Tensor:
        results = steady_clip(self.fields, clip.seen, clip.motion)
        terms = []
        if self.options.objective != "heads":
            terms += [feature_loss(clip, made) for made in results]
        if self.options.objective != "features":
            terms += [head_loss(self.detector.model, clip, made) for made in results]
        return torch.stack(terms).mean()

    def _set_rate(self) -> None:
        warm = min(1.0, (self.progress + 0.01) / WARM_UP)
        rate = self.options.rate * warm * (1 + math.cos(math.pi * min(1.0, self.progress))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _check(self, reader: ClipReader, writer: SummaryWriter) -> None:
        loss = self._restored(reader).loss
        writer.add_scalar("held out", loss, self.done)
        if not self.history or loss < min(value for _, value in self.history):
            self.best = {k: v.detach().cpu().clone() for k, v in self.fields.state_dict().items()}
        self.history.append((self.progress, loss))

    def _stalled(self) -> bool:
        losses = [loss for _, loss in self.history]
        return len(losses) > PATIENCE and min(losses[-PATIENCE:]) > min(losses[:-PATIENCE])

    @torch.no_grad()
    def _restored(self, reader: ClipReader) -> Restored:
        parts: list[list[dict[str, float]]] = [[] for _ in range(5)]
        for index, folder in enumerate(self.clips.held_out):
            clip = reader(read_clip(folder), held_out_rng(index))
            spoilt = torch.tensor(clip.spoilt, device=next(self.fields.parameters()).device)
            smoothed, past = steady_clip(self.fields, clip.seen, clip.motion)
            after = [errors(clip, maps) for maps in (smoothed, past)]
            before = errors(clip, clip.seen)
            rows = [(before, spoilt), *((e, spoilt) for e in after), *((e, ~spoilt) for e in after)]
            for part, (error, frames) in zip(parts, rows, strict=True):
                part.append({n: float(error[n][frames].mean()) for n in self.fields})
        means = [
            {n: float(np.mean([row[n] for row in part])) for n in self.fields} for part in parts
        ]
        return Restored(*means)
