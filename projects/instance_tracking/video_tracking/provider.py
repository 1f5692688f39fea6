"""Unaries of our own: a network fine-tuned on the first frame of each video, whose mask is given.

The network is a VideoSegmentor in phase "unary". Fine-tuning follows OSVOS (Caelles et al., CVPR
2017), adaptation to later frames OnAVOS (Voigtlaender and Leibe, BMVC 2017). H x W is a frame.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.config import CfgNode as CN
from numpy.typing import NDArray
from torch import Tensor

from video_tracking.davis import VOID
from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import VideoTrainer
from videogcrf_det.errors import InputError
from videogcrf_det.progress import progress
from videogcrf_det.segmentation import Frame, VideoSegmentor


def add_provider_config(cfg: CN) -> None:
    """Add what make_unaries.py reads, beside the network and SOLVER's MOMENTUM, WEIGHT_DECAY and
    AMP."""
    cfg.UNARIES = CN()
    # Steps on views of the first frame, mirrored or not, and their learning rate.
    cfg.UNARIES.ITERATIONS = 50
    cfg.UNARIES.BASE_LR = 1e-3
    # The scales of the views, drawn between these two (the paper's).
    cfg.UNARIES.SCALES = [0.5, 1.5]
    # Go on with later frames, which are labelled where there is little doubt.
    cfg.UNARIES.ADAPT = CN({"ENABLED": False})
    # Frames between updates, and the pairs of steps of each: one on that frame, one on the first.
    cfg.UNARIES.ADAPT.PERIOD = 5
    cfg.UNARIES.ADAPT.ITERATIONS = 3
    # The learning rate of these steps. Lower: the network fits the first frame well enough by then.
    cfg.UNARIES.ADAPT.BASE_LR = 1e-4
    # The weight of the later frame's loss.
    cfg.UNARIES.ADAPT.WEIGHT = 0.1
    # Pixels are foreground above this probability, and background this many of them (in the frame
    # as the network sees it) away from where the object was last found. What is found that far from
    # there is not the object either.
    cfg.UNARIES.ADAPT.PROBABILITY = 0.97
    cfg.UNARIES.ADAPT.DISTANCE = 60


class OnlineTracker:
    """A network that is fine-tuned on a video's first frame, and then finds its object."""

    def __init__(
        self,
        model: VideoSegmentor,
        *,
        iterations: int,
        lr: float,
        scales: tuple[float, float],
        adapt: Mapping[str, Any],
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        seed: int = -1,
        amp: bool = False,
    ) -> None:
        """
        Args:
            model: for two labels, in phase "unary"; every video starts with its present weights.
            iterations, lr, scales, adapt: see add_provider_config.
            momentum, weight_decay: of SGD.
            seed: the views of a video follow from it and the video's name; below 0: from chance.
            amp: compute in bfloat16 where that is exact enough.
        """
        self.model = model
        self.iterations = iterations
        self.lr = lr
        self.scales = scales
        self.adapt = adapt
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.seed = seed
        self.amp = amp
        self.start = {name: value.clone() for name, value in model.state_dict().items()}

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> "OnlineTracker":
        """The network of a config, with MODEL.WEIGHTS: one that knows objects that move, or
        ImageNet's, whose head is then new.

        Raises:
            InputError: it is none for two labels and single frames, or a key of UNARIES is not
                usable.
        """
        head = cfg.MODEL.SEM_SEG_HEAD
        if cfg.MODEL.META_ARCHITECTURE != "VideoSegmentor" or head.NUM_CLASSES != 2:
            raise InputError(
                "unaries are made by a VideoSegmentor with 2 labels, and the config has "
                f"{cfg.MODEL.META_ARCHITECTURE} with {head.NUM_CLASSES}: name "
                "configs/DAVIS-2016/parent_R_50.yaml, or one like it"
            )
        if head.NAME == "GivenUnaries":
            raise InputError(
                "MODEL.SEM_SEG_HEAD.NAME GivenUnaries makes no unaries: name a config with a head "
                "that does, such as configs/DAVIS-2016/parent_R_50.yaml"
            )
        scales, period = cfg.UNARIES.SCALES, cfg.UNARIES.ADAPT.PERIOD
        if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
            raise InputError(
                f"UNARIES.SCALES {scales} are not two, the lower first: try [0.5, 1.5]"
            )
        if period < 1:
            raise InputError(f"UNARIES.ADAPT.PERIOD {period} is no number of frames: try 5")
        with torch.random.fork_rng():
            if cfg.SEED >= 0:
                torch.manual_seed(cfg.SEED)  # of a new head
            model: Any = VideoTrainer.build_model(changed_cfg(cfg, "MODEL.PHASE", "unary"))
        ClipCheckpointer(model).load(cfg.MODEL.WEIGHTS)
        return cls(
            model,
            iterations=cfg.UNARIES.ITERATIONS,
            lr=cfg.UNARIES.BASE_LR,
            scales=tuple(scales),
            adapt=cfg.UNARIES.ADAPT,
            momentum=cfg.SOLVER.MOMENTUM,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            seed=cfg.SEED,
            amp=cfg.SOLVER.AMP.ENABLED,
        )

    def __call__(self, name: str, frames: Iterator[Frame]) -> Iterator[NDArray[np.float32]]:
        """Probabilities (height, width) of the foreground on the frames after the first.

        Args:
            name: the video's.
            frames: dicts with ``image`` (3, H, W), ``height`` and ``width``, of which the first has
                ``sem_seg`` (H, W).

        Raises:
            InputError: the first frame does not show the object.
        """
        first = next(frames)
        if not (first["sem_seg"] == 1).any():
            raise InputError(f"the first frame of {name} does not show its object: start later")
        seed = [self.seed, zlib.crc32(name.encode())] if self.seed >= 0 else None
        random = np.random.default_rng(seed)
        self.model.load_state_dict(self.start)
        optimizer = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        for _ in self._bar(range(self.iterations), f"{name}: first frame", "step"):
            self._step(optimizer, self._view(first, random), random)
        for group in optimizer.param_groups:
            group["lr"] = self.adapt["BASE_LR"]
        before = first["sem_seg"] == 1
        for number, frame in enumerate(self._bar(frames, name, "frame"), start=1):
            probability, at_size = self._predict(frame)
            yield at_size.numpy()
            if self.adapt["ENABLED"] and number % self.adapt["PERIOD"] == 0:
                self._adapt(optimizer, frame, probability, before, first, random)
            # else something like it, elsewhere, would become foreground at the next adaptation
            near = (probability > 0.5) & ~far_from(before, self.adapt["DISTANCE"])
            before = near if near.any() else before

    def _adapt(
        self,
        optimizer: torch.optim.Optimizer,
        frame: Frame,
        probability: Tensor,
        before: Tensor,
        first: Frame,
        random: np.random.Generator,
    ) -> None:
        labels = confident_labels(
            probability, before, self.adapt["PROBABILITY"], self.adapt["DISTANCE"]
        )
        if not (labels == 1).any():
            return  # the object is hidden, or lost
        labelled = {"image": frame["image"], "sem_seg": labels}
        for _ in range(self.adapt["ITERATIONS"]):
            self._step(optimizer, labelled, random, self.adapt["WEIGHT"])
            self._step(optimizer, self._view(first, random), random)

    def _step(
        self,
        optimizer: torch.optim.Optimizer,
        frame: Frame,
        random: np.random.Generator,
        weight: float = 1.0,
    ) -> None:
        self.model.train()
        with torch.random.fork_rng(), self._autocast():
            torch.manual_seed(int(random.integers(2**31)))  # of dropout
            (loss,) = self.model.losses([[frame]]).values()
        optimizer.zero_grad()
        (weight * loss).backward()
        optimizer.step()

    def _predict(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """Probabilities of the foreground (H, W) as the network sees the frame, and at its size."""
        self.model.eval()
        with self._autocast():
            (found,) = self.model.segment_video([frame])
        probability = found["sem_seg"][None, 1:].float()
        size = frame["image"].shape[1:]
        seen = F.interpolate(probability, size, mode="bilinear", align_corners=False)
        return seen[0, 0].cpu(), probability[0, 0].cpu()

    def _view(self, frame: Frame, random: np.random.Generator) -> Frame:
        """The frame and its labels at a random scale, mirrored or not."""
        scale = random.uniform(*self.scales)
        size = [max(1, round(n * scale)) for n in frame["image"].shape[1:]]
        image = F.interpolate(
            frame["image"][None].float(), size, mode="bilinear", align_corners=False
        )[0]
        labels = F.interpolate(frame["sem_seg"][None, None].float(), size, mode="nearest-exact")
        view = {"image": image, "sem_seg": labels[0, 0].long()}
        if random.random() < 0.5:
            view = {key: value.flip(-1) for key, value in view.items()}
        return view

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.amp)

    @staticmethod
    def _bar(items: Any, what: str, unit: str) -> Any:
        return progress(items, desc=what, unit=unit, leave=False)


def confident_labels(
    probability: Tensor, before: Tensor, threshold: float, distance: float
) -> Tensor:
    """Labels (H, W) of a frame where there is little doubt, and VOID elsewhere.

    Args:
        probability: (H, W) of the foreground.
        before: (H, W) bool, where the object was last found.
        threshold: pixels that are more probable than this are foreground,
        distance: those farther than this many pixels from ``before`` background, even so.
    """
    labels = torch.full(probability.shape, VOID)
    labels[probability > threshold] = 1
    labels[far_from(before, distance)] = 0
    return labels


def far_from(mask: Tensor, distance: float) -> Tensor:
    """Pixels (H, W) that are more than ``distance`` from every one of a mask (H, W), bool."""
    distances = cv2.distanceTransform((~mask).numpy().astype(np.uint8), cv2.DIST_L2, 5)
    return torch.from_numpy(distances > distance)
