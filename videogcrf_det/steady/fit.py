"""Fitting fields to a detector and to raw footage, or to annotated clips."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.motion.estimate import motion_from
from videogcrf_det.progress import progress
from videogcrf_det.steady.attach import attach, detach
from videogcrf_det.steady.clips import Clips, Image, read_clip
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.fields import Fields, fingerprint
from videogcrf_det.steady.heads import head_loss
from videogcrf_det.steady.labels import LabelledClips, label_loss
from videogcrf_det.steady.objective import (
    THROUGHOUT,
    ClipReader,
    SpoiltClip,
    errors,
    feature_loss,
)
from videogcrf_det.steady.stream import steady_clip, variance_of

# view(clips, rng): clips of frames (H, W, 3) BGR, the first one to be spoilt, as they are seen
View = Callable[[list[list[Image]], np.random.Generator], list[list[Image]]]

# the highest learning rate of each; losses on sampled proposals are noisy, and at ten times this
# rate links die
OBJECTIVES = {"features": 1e-2, "heads": 1e-2, "both": 1e-2, "labels": 1e-3}
WARM_UP = 0.1  # share of the budget in which the learning rate rises
CHECKS = 5  # looks at held-out clips, spread over the budget
PATIENCE = 2  # of them without a gain, before it stops
REFINED_RATE = 0.1  # of the rate: a weight is one of thousands that a value is summed over


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit.

    Attributes:
        iterations, minutes: the budget, one of the two; the other is None.
        clips: of LENGTH frames, an iteration.
        objective: one of OBJECTIVES: what is compared with that of clear frames, or with labels.
        rate: the highest learning rate; None: that of the objective.
        motion: link along optical flow, not the same places.
        ready_made: begin with the fields that come with the package.
        refine: change features before they are coupled, and spoil half of the clips throughout.
    """

    iterations: int | None = None
    minutes: float | None = None
    clips: int = 2
    objective: str = "features"
    rate: float | None = None
    motion: bool = False
    ready_made: bool = False
    refine: bool = False

    def __post_init__(self) -> None:
        given = [value for value in (self.iterations, self.minutes) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise InputError(
                f"--iterations {self.iterations} and --minutes {self.minutes}: give one of them, "
                "above 0"
            )


def held_out_rng(index: int) -> np.random.Generator:
    """The spoiling of a held-out clip, always the same."""
    return np.random.default_rng([7, index])


@dataclass
class Restored:
    """The quality of fields on held-out clips: errors of features in units of their variance.

    Attributes:
        spoilt: of spoilt frames, as they are seen; ``smoothed``: after the fields, given the whole
            clip; ``past``: given the frames up to each alone.
        clear, clear_past: the change of clear frames, likewise.
        throughout: of clips that are spoilt in all frames, as they are seen and after the fields;
            empty without refinements, which are made for these.
    """

    spoilt: dict[str, float]
    smoothed: dict[str, float]
    past: dict[str, float]
    clear: dict[str, float]
    clear_past: dict[str, float]
    throughout: tuple[dict[str, float], dict[str, float]] = field(default_factory=lambda: ({}, {}))

    @property
    def loss(self) -> float:
        """The number that decides when to stop: mean over levels, of spoilt and clear frames."""
        kinds = (self.smoothed, self.past, self.clear, self.clear_past, self.throughout[1])
        return float(np.mean([value for kind in kinds for value in kind.values()]))


class Fitter:
    """One fit, which can be interrupted and gone on with.

    Args:
        detectors: stay as they are; each clip is shown to one of them.
        fields: for all of them; trained.
        clips: see collect_clips.
        folder: gets checkpoints and TensorBoard's events.
        options: see FitOptions.
        view: makes of the frames of a clip, and of what draws at random, those that are seen.
        labels: annotated clips, for the objective of that name; ``clips`` then say no more than
            how much of spoilt features is restored.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        fields: Fields,
        clips: Clips,
        folder: Path,
        options: FitOptions,
        view: View | None = None,
        labels: LabelledClips | None = None,
    ) -> None:
        self.detectors, self.clips, self.folder, self.options = detectors, clips, folder, options
        for detector in detectors:
            detector.model.requires_grad_(False)
        self.view = view or (lambda frames, _: frames)
        self.labels = labels
        self.seed = detectors[0].seed
        device = next(detectors[0].model.parameters()).device
        self.fields = fields.to(device)
        self.fingerprints = [fingerprint(d.model.get_submodule("backbone")) for d in detectors]
        refined = [v for name, v in self.fields.named_parameters() if ".refinement." in name]
        others = [v for name, v in self.fields.named_parameters() if ".refinement." not in name]
        groups: list[dict[str, Any]] = [{"params": others, "share": 1.0}]
        if refined:
            groups.append({"params": refined, "share": REFINED_RATE})
        self.rate = OBJECTIVES[options.objective] if options.rate is None else options.rate
        self.optimizer = torch.optim.AdamW(groups, self.rate, weight_decay=1e-4)
        self.done = 0  # iterations
        self.seconds = 0.0  # spent on them
        self.history: list[tuple[float, float]] = []  # progress and held-out loss
        self.best: dict[str, Any] | None = None

    # ---- going on after an interruption ----------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """The state that ``resume`` reads."""
        return self.folder / "fit.pth"

    def save(self) -> None:
        """Write all that the rest of the fit depends on."""
        state = {
            "options": asdict(self.options),
            "fingerprints": self.fingerprints,
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
        if state["fingerprints"] != self.fingerprints:
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

    def run(self) -> Fields:
        """Fit until the budget is spent or held-out clips show no more gain; the best fields."""
        bar = progress(
            total=100, desc="fitting", bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        )
        with self._readers() as readers, SummaryWriter(str(self.folder)) as writer, bar:
            while self.progress < 1 and not self._stalled():
                start = time.monotonic()
                loss = self._step(readers)
                self.done += 1
                self.seconds += time.monotonic() - start
                writer.add_scalar("loss", loss, self.done)
                if self.progress * CHECKS >= len(self.history) + 1 or self.progress >= 1:
                    self._check(readers, writer)
                self.save()  # a few MB
                held_out = f", held out {self.history[-1][1]:.4f}" if self.history else ""
                bar.set_postfix_str(f"loss {loss:.4f}{held_out}", refresh=False)
                bar.update(min(100, round(100 * self.progress)) - bar.n)
        if self.best is not None:
            self.fields.load_state_dict(self.best)
        self._set_units()
        return self.fields

    def restored(self) -> Restored:
        """Evaluate the fields on held-out clips, spoilt always in the same way."""
        with self._readers() as readers:
            return self._restored(readers)

    @torch.no_grad()
    def _set_units(self) -> None:
        """Have variances be those of what is missing of held-out clips, on average."""
        units: dict[str, Any] = dict(getattr(self.fields, "log_units", {}))
        found: dict[str, list[Tensor]] = {name: [] for name in units}
        if not found:
            return
        with self._readers() as (reader, *_):
            for index, folder in enumerate(self.clips.held_out):
                clip = self._clip(reader, held_out_rng(index), folder)
                for made in self._smoothed(clip):
                    for name, values in found.items():
                        ratio = (made[name] - clip.clear[name]).square() / made[variance_of(name)]
                        values.append(ratio[:, 0, clip.valid[name][0, 0]].mean())
        for name, values in found.items():
            units[name] += torch.stack(values).mean().log()

    @contextmanager
    def _readers(self) -> Iterator[list[ClipReader]]:
        along = motion_from("dis" if self.options.motion else "")
        try:
            for detector in self.detectors:
                attach(detector.model, self.fields, motion=along)
            yield [ClipReader(detector) for detector in self.detectors]
        finally:
            for detector in self.detectors:
                detach(detector.model)

    def _step(self, readers: list[ClipReader]) -> float:
        """One iteration; its draws depend on the seed and its number alone."""
        rng = np.random.default_rng([self.seed, self.done])
        self._set_rate()
        self.optimizer.zero_grad()
        total = 0.0
        for _ in range(self.options.clips):
            loss = self._drawn(readers, rng) / self.options.clips
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

    def _drawn(self, readers: list[ClipReader], rng: np.random.Generator) -> Tensor:
        """The loss of one clip."""
        if self.labels is not None:
            frames, labelled = self.labels.draw(rng)
            clip = readers[0]([frames], rng)
            model = readers[0].detector.model
            results = self._smoothed(clip)
            return torch.stack([label_loss(model, clip, m, labelled) for m in results]).mean()
        ours, other = (
            self.clips.train[int(i)] for i in rng.integers(len(self.clips.train), size=2)
        )
        reader = readers[int(rng.integers(len(readers)))] if len(readers) > 1 else readers[0]
        # not drawn where it does not matter
        throughout = self.options.refine and rng.random() < THROUGHOUT
        clip = self._clip(reader, rng, ours, other, throughout=throughout)
        return self._loss(reader.detector, clip)

    def _clip(
        self, reader: ClipReader, rng: np.random.Generator, *folders: Path, throughout: bool = False
    ) -> SpoiltClip:
        clips = self.view([read_clip(folder) for folder in folders], rng)
        return reader(clips, rng, throughout=throughout)

    def _smoothed(self, clip: SpoiltClip) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        described = self.fields.describe(clip.seen, clip.pictures)
        return steady_clip(clip.seen, described, clip.motion)

    def _loss(self, detector: Detector, clip: SpoiltClip) -> Tensor:
        results = self._smoothed(clip)
        terms = []
        if self.options.objective != "heads":
            terms += [feature_loss(clip, made) for made in results]
        if self.options.objective != "features":
            terms += [head_loss(detector.model, clip, made) for made in results]
        return torch.stack(terms).mean()

    def _set_rate(self) -> None:
        warm = min(1.0, (self.progress + 0.01) / WARM_UP)
        rate = self.rate * warm * (1 + math.cos(math.pi * min(1.0, self.progress))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]

    def _check(self, readers: list[ClipReader], writer: SummaryWriter) -> None:
        loss = self._restored(readers).loss
        writer.add_scalar("held out", loss, self.done)
        better = not self.history or loss < min(value for _, value in self.history)
        if better or self.labels is not None:
            self.best = {k: v.detach().cpu().clone() for k, v in self.fields.state_dict().items()}
        self.history.append((self.progress, loss))

    def _stalled(self) -> bool:
        losses = [loss for _, loss in self.history if self.labels is None]
        return len(losses) > PATIENCE and min(losses[-PATIENCE:]) > min(losses[:-PATIENCE])

    @torch.no_grad()
    def _restored(self, readers: list[ClipReader]) -> Restored:
        parts: list[dict[str, list[float]]] = [{} for _ in range(5)]
        for index, folder in enumerate(self.clips.held_out):
            clip = self._clip(readers[index % len(readers)], held_out_rng(index), folder)
            spoilt = torch.tensor(clip.spoilt, device=clip.pictures.device)
            smoothed, past = self._smoothed(clip)
            after = [errors(clip, maps) for maps in (smoothed, past)]
            before = errors(clip, clip.seen)
            rows = [(before, spoilt), *((e, spoilt) for e in after), *((e, ~spoilt) for e in after)]
            for part, (error, frames) in zip(parts, rows, strict=True):
                for name in after[0]:
                    part.setdefault(name, []).append(float(error[name][frames].mean()))
        means = [{n: float(np.mean(v)) for n, v in part.items()} for part in parts]
        return Restored(means[0], means[1], means[2], means[3], means[4], self._throughout(readers))

    def _throughout(self, readers: list[ClipReader]) -> tuple[dict[str, float], dict[str, float]]:
        """Errors of held-out clips that are spoilt in all frames, before and after the fields."""
        before: dict[str, list[float]] = {}
        after: dict[str, list[float]] = {}
        for index, folder in enumerate(self.clips.held_out if self.options.refine else ()):
            reader = readers[index % len(readers)]
            clip = self._clip(reader, held_out_rng(index), folder, throughout=True)
            smoothed, _ = self._smoothed(clip)
            missing, left = errors(clip, clip.seen), errors(clip, smoothed)
            for name, error in left.items():
                before.setdefault(name, []).append(float(missing[name].mean()))
                after.setdefault(name, []).append(float(error.mean()))
        return (
            {name: float(np.mean(values)) for name, values in before.items()},
            {name: float(np.mean(values)) for name, values in after.items()},
        )
