"""Segmentation of videos with the VideoGCRF as the last layer (Sec. 3.1).

Letters: M frames of all clips of a batch, V frames of a clip, L labels, H x W a frame,
h x w its feature map, P = h w.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import (
    FPN,
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    build_sem_seg_head,
)
from detectron2.structures import ImageList
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from videogcrf_det.config import check_windows, gcrf_options, indefinite_named, wrong_options_named
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import Embeddings, Terms, VideoGCRF
from videogcrf_det.gcrf.pairwise import PairwiseResult, pairwise_objective
from videogcrf_det.segmentation.config import PHASES
from videogcrf_det.segmentation.dense_crf import DenseCRF
from videogcrf_det.segmentation.frames import (
    Frame,
    FrameTerms,
    cells_of,
    of_one_size,
    scores_in_pixels,
)
from videogcrf_det.segmentation.given_unaries import GivenUnaries, GridBackbone
from videogcrf_det.segmentation.labels import check_labels
from videogcrf_det.streams import in_step


@META_ARCH_REGISTRY.register()
class VideoSegmentor(nn.Module):
    """A per-frame network for unaries, and a random field over labels of all frames of a clip.

    Clips and videos are taken as ClipRCNN takes them: ``{"frames": iterable of dicts}`` with
    ``image`` (3, H, W), ``sem_seg`` (H, W) in training, and ``unary`` (L, H, W) where unaries are
    given (GivenUnaries).
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        head: nn.Module,
        crf: VideoGCRF | None,
        embedding_feature: str,
        phase: str,
        num_frames: int,
        window_step: int,
        num_pairs: int,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        dense_crf: DenseCRF | None = None,
        ignore_label: int,
        pixel_mean: list[float],
        pixel_std: list[float],
    ) -> None:
        """
        Args:
            backbone: makes features of frames.
            head: makes unaries (M, L, h, w) of the features by name, and of those that the frames
                came with (M, L, H, W), or None; has ``num_classes``, L.
            crf: a VideoGCRF over labels on the feature ``embedding_feature``, products, which have
                couplings for pairs of labels, or averages, the same for all; None in phase
                "unary", whose weights then suit random fields of any kind.
            phase: what is trained: "unary", "pairwise" or "joint".
            num_frames: V, the frames that inference couples at a time.
            window_step: frames from one window to the next.
            num_pairs: pairs of positions a clip for the pairwise objective.
            scales, flip: of inference; see TEST in config.py.
            dense_crf: what post-processes frames; None: nothing.
            ignore_label: the value of pixels without a label.
            pixel_mean, pixel_std: of the channels of an image.
        """
        super().__init__()
        if phase not in PHASES:
            raise InputError(f"MODEL.PHASE {phase!r} is none of {', '.join(PHASES)}: name one")
        check_windows(num_frames, window_step)
        if not scales or min(scales) <= 0:
            raise InputError(f"TEST.SCALES {list(scales)} are not scales above 0: try [1.0]")
        assert (crf is None) == (phase == "unary")
        self.backbone = backbone
        self.head: Any = head
        self.crf: Any = crf
        self.embedding_feature = embedding_feature
        self.phase = phase
        self.num_frames = num_frames
        self.window_step = window_step
        self.num_pairs = num_pairs
        self.scales = tuple(scales)
        self.flip = flip
        self.dense_crf = dense_crf
        self.ignore_label = ignore_label
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        if crf is not None and phase == "pairwise":  # nothing else has gradients then
            self.requires_grad_(False)
            for branch in crf.field.children():
                branch.requires_grad_(True)

    pixel_mean: Tensor
    pixel_std: Tensor

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        if cfg.MODEL.VIDEO_GCRF.FREEZE_DETECTOR:
            raise InputError(
                "MODEL.VIDEO_GCRF.FREEZE_DETECTOR is for detectors: here phase pairwise trains "
                "embeddings alone; leave it False"
            )
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        if len(cfg.MODEL.VIDEO_GCRF.IN_FEATURES) != 1:
            raise InputError(
                f"MODEL.VIDEO_GCRF.IN_FEATURES {cfg.MODEL.VIDEO_GCRF.IN_FEATURES} is not one "
                "feature: embeddings of the last layer come from one, ['res4'] for example"
            )
        (embedding_feature,) = cfg.MODEL.VIDEO_GCRF.IN_FEATURES
        if embedding_feature not in shapes:
            raise InputError(
                f"the backbone has no feature {embedding_feature!r}, only {', '.join(shapes)}: add "
                "it to MODEL.RESNETS.OUT_FEATURES"
            )
        crf = None
        if cfg.MODEL.PHASE != "unary":
            options = gcrf_options(cfg)
            if options["pairwise"] == "product":
                options["num_labels"] = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
            else:
                _check_averages(cfg)
            with wrong_options_named():
                crf = VideoGCRF.build(shapes[embedding_feature].channels, **options)
        if crf is None and GivenUnaries.__name__ == cfg.MODEL.SEM_SEG_HEAD.NAME:
            backbone = GridBackbone(shapes)
        return {
            "backbone": backbone,
            "head": build_sem_seg_head(cfg, shapes),
            "crf": crf,
            "embedding_feature": embedding_feature,
            "phase": cfg.MODEL.PHASE,
            "num_frames": cfg.INPUT.CLIP.NUM_FRAMES,
            "window_step": cfg.TEST.WINDOW_STEP,
            "num_pairs": cfg.MODEL.VIDEO_GCRF.NUM_PAIRS,
            "scales": cfg.TEST.SCALES,
            "flip": cfg.TEST.FLIP,
            "dense_crf": DenseCRF.from_cfg(cfg),
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def train(self, mode: bool = True) -> "VideoSegmentor":
        """As of any module; but phase "pairwise" leaves the statistics of normalisations alone."""
        super().train(mode)
        if self.phase == "pairwise":
            self.backbone.eval()
            self.head.eval()
        return self

    @property
    def has_unread_features(self) -> bool:
        """True if layers of the backbone are trained that nothing reads: other levels of an FPN."""
        return isinstance(self.backbone, FPN) and self.phase != "pairwise"

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses of a batch of clips in training; otherwise, for each video, an iterator of
        ``{"sem_seg": (L, H, W) probabilities}``, frame by frame, at each frame's ``height`` and
        ``width``."""
        if self.training:
            return self.losses([list(clip["frames"]) for clip in batched_inputs])
        return [self.segment_video(video["frames"]) for video in batched_inputs]

    def losses(self, clips: list[list[Frame]]) -> dict[str, Tensor]:
        """The losses of the phase over the frames of all clips."""
        frames = [frame for clip in clips for frame in clip]
        lengths = [len(clip) for clip in clips]
        images = self._images(frames)
        with torch.set_grad_enabled(self.phase != "pairwise"):
            features = self.backbone(images.tensor)
        labels = self._labels(frames)
        if self.phase == "pairwise":
            found = self._pairwise(features, images, labels, lengths)
            storage = get_event_storage()
            for name, result in found.items():
                if result.accuracy.isfinite():
                    storage.put_scalar(f"{name}_accuracy", result.accuracy.item())
            return {f"loss_{name}": result.loss for name, result in found.items()}
        given_unaries = self._given_unaries(frames)
        scores = unary = self.unaries(features, given_unaries)
        if self.phase == "joint":
            source = features[self.embedding_feature]
            cells = self._cells(images, source)
            scores = self.crf(source, lengths, unary=unary, valid_sizes=cells)
        scores = scores_in_pixels(scores, unary, given_unaries, labels.shape[1:])
        loss = F.cross_entropy(scores, labels, ignore_index=self.ignore_label, reduction="sum")
        return {"loss_sem_seg": loss / (labels != self.ignore_label).sum().clamp(min=1)}

    def unaries(self, features: dict[str, Tensor], given_unaries: Tensor | None) -> Tensor:
        """Scores (M, L, h, w), of every position above that of its lowest label.

        No softmax sees the shift, but couplings do: they inhibit by what is positive. Scores that
        add up to zero would undo the inhibition of wrong labels, which the pairwise objective
        teaches, and give couplings next to no gradient.
        """
        scores = self.head(features, given_unaries)
        return scores - scores.amin(1, keepdim=True)

    @torch.no_grad()
    def pairwise(self, clip: list[Frame]) -> dict[str, PairwiseResult]:
        """The pairwise objective on the spatial and on the temporal embeddings of a clip, whose
        frames have ``sem_seg``."""
        images = self._images(clip)
        return self._pairwise(self.backbone(images.tensor), images, self._labels(clip), [len(clip)])

    def _pairwise(
        self, features: dict[str, Tensor], images: ImageList, labels: Tensor, lengths: list[int]
    ) -> dict[str, PairwiseResult]:
        """The pairwise objective, mean over the clips that have pairs; labels (M, H, W)."""
        source = features[self.embedding_feature]
        embedded = self.crf.embeddings(source, self._cells(images, source), scaled=False)
        at_cells = F.interpolate(labels[:, None].float(), source.shape[2:], mode="nearest-exact")
        cells = at_cells.long().flatten(1)
        cells[cells == self.ignore_label] = -1
        found = {}
        for name, embeddings in [("spatial", embedded.spatial), ("temporal", embedded.temporal)]:
            if embeddings is None:
                continue
            parts = zip(embeddings.split(lengths), cells.split(lengths), strict=True)
            couplings = [
                self.crf.field.coupling(n) if name == "temporal" else None for n in lengths
            ]
            results = [
                pairwise_objective(*part, self.num_pairs, coupling)
                for part, coupling in zip(parts, couplings, strict=True)
            ]
            loss, accuracy, shares = (torch.stack(each) for each in zip(*results, strict=True))
            count = accuracy.isfinite().sum().clamp(min=1)  # losses of no pairs are 0
            found[name] = PairwiseResult(loss.sum() / count, accuracy.nanmean(), shares.nanmean(0))
        return found

    def _labels(self, frames: list[Frame]) -> Tensor:
        """(M, H, W), the size of the padded images."""
        for frame in frames:
            name = str(frame.get("file_name", "a frame"))
            if "sem_seg" not in frame:
                raise InputError(
                    f"{name} has no label for every pixel: name a data set that has them in "
                    "DATASETS, such as camvid_train or davis_person_semantic_train"
                )
            check_labels(frame["sem_seg"], self.head.num_classes, self.ignore_label, name)
        return self._pad([frame["sem_seg"] for frame in frames], self.ignore_label).tensor

    def _given_unaries(self, frames: list[Frame]) -> Tensor | None:
        """(M, L, H, W), the size of the padded images; None if the frames have no unaries."""
        if "unary" not in frames[0]:
            return None
        return self._pad([frame["unary"] for frame in frames]).tensor

    @torch.no_grad()
    def segment_video(self, frames: Iterable[Frame]) -> Iterator[dict[str, Tensor]]:
        """Probabilities of the labels of a video of any length, frame by frame.

        At most ``num_frames`` frames are held, and a frame's result comes at most
        ``num_frames - 1`` frames after it was read. At several scales or mirrored, each version of
        the video is segmented on its own, and the probabilities are averaged.

        Args:
            frames: dicts with ``image`` (3, H, W), ``height`` and ``width``, all of one size.

        Yields:
            ``{"sem_seg": (L, height, width)}``
        """
        versions = [
            (scale, flip) for scale in self.scales for flip in (False, True)[: 1 + self.flip]
        ]
        functions = [partial(self._scores, scale=scale, flip=flip) for scale, flip in versions]
        for frame, scores in in_step(frames, functions):
            size = frame["height"], frame["width"]
            probabilities = [
                F.interpolate(
                    found.flip(3) if flip else found, size, mode="bilinear", align_corners=False
                ).softmax(1)
                for found, (_, flip) in zip(scores, versions, strict=True)
            ]
            mean = torch.cat(probabilities).mean(0)
            if self.dense_crf is not None:
                image = F.interpolate(frame["image"][None].float(), mean.shape[1:], mode="bilinear")
                pixels = image[0].round().byte().permute(1, 2, 0).cpu().numpy()
                mean = torch.from_numpy(self.dense_crf(mean.cpu().numpy(), pixels))
            yield {"sem_seg": mean}

    def _scores(self, frames: Iterable[Frame], scale: float, flip: bool) -> Iterator[Tensor]:
        """Scores (1, L, H, W) of frames, of the unaries or of windows, averaged."""
        described = (self.frame_terms(frame, scale, flip) for frame in of_one_size(frames))
        pairs = ((frame, frame.terms) for frame in described)
        if self.phase == "unary":
            scored = ((frame, terms.unary) for frame, terms in pairs)
        else:
            scored = self.crf.infer_video(pairs, self.num_frames, self.window_step)
        with indefinite_named():
            yield from (frame.in_pixels(scores) for frame, scores in scored)

    def frame_terms(self, frame: Frame, scale: float = 1.0, flip: bool = False) -> FrameTerms:
        """The unaries and, except in phase "unary", the embeddings of a frame."""
        # times 1.0: pixels may be bytes
        maps: Frame = {key: frame[key] * 1.0 for key in ("image", "unary") if key in frame}
        if scale != 1:
            maps = {
                key: F.interpolate(
                    values[None], scale_factor=scale, mode="bilinear", align_corners=False
                )[0]
                for key, values in maps.items()
            }
        if flip:
            maps = {key: values.flip(2) for key, values in maps.items()}
        images, given_unaries = self._images([maps]), self._given_unaries([maps])
        features = self.backbone(images.tensor)
        unary = self.unaries(features, given_unaries)
        if self.phase == "unary":
            terms = Terms(unary, Embeddings(None, None))
        else:
            source = features[self.embedding_feature]
            cells = self._cells(images, source)
            terms = self.crf.terms(source, unary=unary, valid_sizes=cells)
        height, width = images.tensor.shape[2:]
        return FrameTerms(terms, images.image_sizes[0], (height, width), given_unaries)

    def _images(self, frames: list[Frame]) -> ImageList:
        mean, std = self.pixel_mean, self.pixel_std
        return self._pad([(frame["image"].to(self.device) - mean) / std for frame in frames])

    def _pad(self, values: list[Tensor], padding: float = 0.0) -> ImageList:
        return ImageList.from_tensors(
            [each.to(self.device) for each in values],
            self.backbone.size_divisibility,
            padding,
            getattr(self.backbone, "padding_constraints", None),
        )

    def _cells(self, images: ImageList, features: Tensor) -> list[tuple[int, int]]:
        """(height, width) of frames in cells of a feature map."""
        height, width = images.tensor.shape[2:]
        return [cells_of(size, (height, width), features) for size in images.image_sizes]


def _check_averages(cfg: CfgNode) -> None:
    """Raise InputError for what scores that are averaged over time have no use for."""
    pairwise = f"MODEL.VIDEO_GCRF.PAIRWISE {cfg.MODEL.VIDEO_GCRF.PAIRWISE}"
    if cfg.MODEL.PHASE == "pairwise":
        raise InputError(
            f"{pairwise} couples each label with itself alone, and phase pairwise teaches pairs of "
            "labels: set PHASES.NAMES to ['unary', 'joint']"
        )
    if cfg.MODEL.VIDEO_GCRF.FUSION != "replace":
        raise InputError(
            f"{pairwise} gives scores as they are: set MODEL.VIDEO_GCRF.FUSION, which is "
            f"{cfg.MODEL.VIDEO_GCRF.FUSION!r}, to 'replace'"
        )
