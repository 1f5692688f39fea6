"""Unaries of our own: a network fine-tuned on the first frame of each video, whose mask is given.

The network is a VideoSegmentor in phase "unary". Fine-tuning follows OSVOS (Caelles et al., CVPR
2017), adaptation to later frames OnAVOS (Voigtlaender and Leibe, BMVC 2017). H x W is a frame.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.config import CfgNode as CN
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from video_tracking.davis import VOID, FilePath, Record
from video_tracking.mappers import ObjectVideoMapper
from video_tracking.unaries import write_unary
from videogcrf_det.data import load_videos
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import load_model
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_folder, atomic_write
from videogcrf_det.segmentation import Frame, VideoSegmentor


def add_provider_config(cfg: CN) -> None:
    """Add what make_unaries.py reads, beside the network and SOLVER's MOMENTUM, WEIGHT_DECAY and
    AMP."""
    cfg.UNARIES = CN()
    # Steps on views of the first frame, mirrored or not, and the learning rate of all steps.
    cfg.UNARIES.ITERATIONS = 50
    cfg.UNARIES.BASE_LR = 1e-3
    # The scales of the views, drawn between these two (the paper's).
    cfg.UNARIES.SCALES = [0.5, 1.5]
    # Go on with later frames, which are labelled where there is little doubt.
    cfg.UNARIES.ADAPT = CN({"ENABLED": False})
    # After every so many frames, so many pairs of steps: one on that frame, one on the first.
    cfg.UNARIES.ADAPT.PERIOD = 5
    cfg.UNARIES.ADAPT.ITERATIONS = 3
    # The weight of the later frame's loss.
    cfg.UNARIES.ADAPT.WEIGHT = 0.1
    # Pixels are foreground above this probability, and background this many of them (in the frame
    # as the network sees it) away from where the object was found on the frame before.
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
        """The network of a config, with MODEL.WEIGHTS.

        Raises:
            InputError: it is none for two labels and single frames.
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
        model: Any = load_model(changed_cfg(cfg, "MODEL.PHASE", "unary"))
        return cls(
            model,
            iterations=cfg.UNARIES.ITERATIONS,
            lr=cfg.UNARIES.BASE_LR,
            scales=tuple(cfg.UNARIES.SCALES),
            adapt=cfg.UNARIES.ADAPT,
            momentum=cfg.SOLVER.MOMENTUM,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            seed=cfg.SEED,
            amp=cfg.SOLVER.AMP.ENABLED,
        )

    def __call__(self, name: str, frames: Iterator[Frame]) -> Iterator[NDArray[np.float32]]:
        """Probabilities (height, width) of the foreground, frame by frame.

        Those of the first frame are what is given: 0, 1, and 0.5 where void.

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
        yield _given(first)
        before = first["sem_seg"] == 1
        for number, frame in enumerate(self._bar(frames, name, "frame"), start=1):
            probability, at_size = self._predict(frame)
            yield at_size.numpy()
            if self.adapt["ENABLED"] and number % self.adapt["PERIOD"] == 0:
                self._adapt(optimizer, frame, probability, before, first, random)
            before = probability > 0.5

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
        size = [max(1, round(n * random.uniform(*self.scales))) for n in frame["image"].shape[1:]]
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
        return tqdm(items, desc=what, unit=unit, leave=False, disable=None)


def confident_labels(
    probability: Tensor, before: Tensor, threshold: float, distance: float
) -> Tensor:
    """Labels (H, W) of a frame where there is little doubt, and VOID elsewhere.

    Args:
        probability: (H, W) of the foreground.
        before: (H, W) bool, where the object was on the frame before.
        threshold: pixels that are more probable than this are foreground,
        distance: those farther than this many pixels from ``before`` background, even so.
    """
    labels = torch.full(probability.shape, VOID)
    labels[probability > threshold] = 1
    away = cv2.distanceTransform((~before).numpy().astype(np.uint8), cv2.DIST_L2, 5)
    labels[torch.from_numpy(away > distance)] = 0
    return labels


def make_unaries(
    cfg: CfgNode, dataset: str, output: FilePath, sequences: Sequence[str] = ()
) -> None:
    """Write the unaries of all objects of a data set; see unaries.py.

    A video's folder is there when it is complete. Those that are there are left out.

    Args:
        cfg: of the network; see OnlineTracker.from_cfg. ``output`` keeps it, as config.yaml.
        dataset: a registered data set of davis.py.
        output: the folder.
        sequences: which of it; all if there are none.

    Raises:
        InputError: something of the above is not usable, or ``output`` has unaries of another
            config.
    """
    output = Path(output)
    videos = load_videos(dataset)
    known = {video["frames"][0]["sequence"] for video in videos}
    for name in sequences:
        if name not in known:
            raise InputError(f"{dataset} has no sequence {name!r}, only {', '.join(sorted(known))}")
    if sequences:
        videos = [video for video in videos if video["frames"][0]["sequence"] in sequences]
    _keep_config(cfg, output)
    mapper = ObjectVideoMapper(cfg, is_train=False)
    tracker = OnlineTracker.from_cfg(cfg)
    for video in tqdm(videos, desc="unaries", unit="video", disable=None):
        folder = output / video["video_name"]
        if not folder.is_dir():
            with atomic_folder(folder) as temporary:
                _write_video(tracker, mapper(video), temporary)


def _write_video(tracker: OnlineTracker, video: Record, folder: Path) -> None:
    found = tracker(video["video_name"], iter(video["frames"]))
    for record, probability in zip(video["records"], found, strict=True):
        write_unary(folder / f"{Path(record['file_name']).stem}.png", probability)


def _given(frame: Frame) -> NDArray[np.float32]:
    """The labels of a frame as probabilities, at its own size."""
    probability = torch.where(frame["sem_seg"] == VOID, 0.5, frame["sem_seg"].float())
    size = frame["height"], frame["width"]
    return F.interpolate(probability[None, None], size, mode="nearest-exact")[0, 0].numpy()


def _keep_config(cfg: CfgNode, output: Path) -> None:
    """Write what makes the unaries what they are beside them, or compare with what is there."""
    nodes = {key: cfg[key] for key in ("MODEL", "UNARIES", "SEED")}
    content = CfgNode({**nodes, "INPUT": {"MIN_SIZE_TEST": cfg.INPUT.MIN_SIZE_TEST}}).dump()
    path = output / "config.yaml"
    if not path.exists():
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != content:
        raise InputError(
            f"{output} has unaries of another config, {path}: name another folder, or remove it"
        )
