"""Mask R-CNN on clips: which frames belong together, and how large they are, reach the backbone."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import ImageList
from torch import Tensor

from videogcrf_det.config import check_windows
from videogcrf_det.errors import InputError
from videogcrf_det.modeling.backbone import VideoGCRFBackbone, features_of_frames
from videogcrf_det.modeling.losses import rcnn_losses
from videogcrf_det.modeling.pairs import cells_of_instances, instance_pairs_loss

Frame = dict[str, Any]


@META_ARCH_REGISTRY.register()
class ClipRCNN(GeneralizedRCNN):
    """A GeneralizedRCNN whose inputs are clips.

    With any other backbone than VideoGCRFBackbone it is the per-frame detector on the same clips:
    the baseline. An input without ``"frames"`` is a frame by itself, so what takes single images,
    DefaultPredictor for example, works as usual.
    """

    @configurable
    def __init__(
        self,
        *,
        num_frames: int = 4,
        window_step: int = 1,
        frames_per_batch: int = 1,
        freeze_detector: bool = False,
        pairwise_loss: float = 0.0,
        **rcnn_options: Any,
    ) -> None:
        """
        Args:
            num_frames: V, the frames that inference couples at a time.
            window_step: frames from one window to the next, from 1 to ``num_frames``.
            frames_per_batch: frames of a video that the wrapped backbone sees at a time.
            freeze_detector: train the weights of VideoGCRFs alone.
            pairwise_loss: weight of the pairwise objective on instances (pairs.py), for fields of
                products.
            rcnn_options: keyword arguments of GeneralizedRCNN.
        """
        super().__init__(**rcnn_options)
        check_windows(num_frames, window_step)
        self.num_frames = num_frames
        self.window_step = window_step
        if frames_per_batch < 1:
            raise InputError(f"TEST.FRAMES_PER_BATCH is {frames_per_batch}: give 1 or more")
        self.frames_per_batch = frames_per_batch
        self.pairwise_loss = pairwise_loss
        if freeze_detector:
            if not isinstance(self.backbone, VideoGCRFBackbone):
                raise InputError(
                    "MODEL.VIDEO_GCRF.FREEZE_DETECTOR leaves nothing to train: the backbone has no "
                    "random fields; set MODEL.BACKBONE.NAME build_video_gcrf_backbone"
                )
            self.requires_grad_(False)
            FrozenBatchNorm2d.convert_frozen_batchnorm(self)
            self.backbone.gcrf.requires_grad_(True)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        options = cfg.MODEL.VIDEO_GCRF
        if options.PAIRWISE_LOSS and (
            options.PAIRWISE != "product"
            or cfg.MODEL.BACKBONE.NAME != "build_video_gcrf_backbone"
            or not cfg.MODEL.MASK_ON
            or cfg.INPUT.MASK_FORMAT != "bitmask"
        ):
            raise InputError(
                f"MODEL.VIDEO_GCRF.PAIRWISE_LOSS {options.PAIRWISE_LOSS} is for random fields of "
                "products and for masks: set MODEL.BACKBONE.NAME build_video_gcrf_backbone, "
                "MODEL.VIDEO_GCRF.PAIRWISE product, MODEL.MASK_ON True and INPUT.MASK_FORMAT "
                "bitmask, or leave it at 0"
            )
        return {
            **super().from_config(cfg),
            "num_frames": cfg.INPUT.CLIP.NUM_FRAMES,
            "window_step": cfg.TEST.WINDOW_STEP,
            "frames_per_batch": cfg.TEST.FRAMES_PER_BATCH,
            "pairwise_loss": options.PAIRWISE_LOSS,
            "freeze_detector": cfg.MODEL.VIDEO_GCRF.FREEZE_DETECTOR,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses of a batch of clips in training, detections otherwise.

        Args:
            batched_inputs: clips, each a dict with ``"frames"``: an iterable of dicts as
                GeneralizedRCNN takes them (``image`` (3, H, W), ``height``, ``width``,
                ``instances`` in training), in temporal order. Clips may differ in length, frames in
                size. A frame with ``annotated: False`` is in no loss.

        Returns:
            In training a dict of losses over all frames. In inference one entry per clip: a list
            of ``{"instances": Instances}``, each in its frame's own ``height`` and ``width``, if
            the clip's frames are a list. For any other iterable, one that reads a long video from
            disk, say, an iterator of the same that reads frames as it goes and keeps no more than
            ``num_frames`` of them.
        """
        if self.training:
            return self.losses([_frames_of(clip) for clip in batched_inputs])
        results: list[Any] = []
        for clip in batched_inputs:
            if "frames" not in clip:
                results.extend(self.detect_video([clip]))
            elif isinstance(clip["frames"], list):
                results.append(list(self.detect_video(clip["frames"])))
            else:
                results.append(self.detect_video(clip["frames"]))
        return results

    def losses(self, clips: list[list[Frame]]) -> dict[str, Tensor]:
        """Losses of the detector over the annotated frames of all clips.

        The others (``annotated: False``, see data/few_labels.py) are seen by the backbone alone.
        """
        frames = [frame for clip in clips for frame in clip]
        images = self.preprocess_image(frames)
        if isinstance(self.backbone, VideoGCRFBackbone):
            lengths = [len(clip) for clip in clips]
            unaries = self.backbone.bottom_up(images.tensor)
            features = self.backbone.couple(unaries, lengths, images.image_sizes)
            pairwise = self._pairwise(unaries, images, clips) if self.pairwise_loss else {}
        else:
            features, pairwise = self.backbone(images.tensor), {}
        return {**rcnn_losses(self, frames, images, features), **pairwise}

    def _pairwise(
        self, unaries: dict[str, Tensor], images: ImageList, clips: list[list[Frame]]
    ) -> dict[str, Tensor]:
        """The pairwise objective, a mean over clips, levels and both embeddings."""
        lengths, losses = [len(clip) for clip in clips], []
        for name, layer in self.backbone.gcrf.items():
            height, width = unaries[name].shape[2:]
            stride = self.backbone.output_shape()[name].stride
            cells = [
                cells_of_instances(frame["instances"], (height, width), stride)
                if frame.get("annotated", True)
                else torch.full((height * width,), -1)
                for clip in clips
                for frame in clip
            ]
            valid = self.backbone.cells(name, images.image_sizes)
            embedded = layer.embeddings(unaries[name], valid, scaled=False)
            for part, temporal in ((embedded.spatial, False), (embedded.temporal, True)):
                if part is None:
                    continue
                first = 0
                for embeddings in part.split(lengths):
                    number = len(embeddings)
                    coupling = layer.field.coupling(number) if temporal else None
                    of_clip = cells[first : first + number]
                    losses.append(instance_pairs_loss(embeddings, of_clip, coupling))
                    first += number
        return {"loss_pairwise": self.pairwise_loss * torch.stack(losses).mean()}

    @torch.no_grad()
    def detect_video(self, frames: Iterable[Frame]) -> Iterator[dict[str, Any]]:
        """Detections of a video of any length, frame by frame.

        The wrapped backbone and the heads run once per frame; features are coupled in windows of
        ``num_frames`` frames and averaged where windows overlap. At most ``num_frames`` frames are
        held, and a frame's result comes at most ``num_frames - 1`` frames after it was read; with
        ``frames_per_batch`` both are up to one batch more.
        """
        seen = ((frame, self.preprocess_image([frame])) for frame in frames)
        if isinstance(self.backbone, VideoGCRFBackbone):
            described = self.backbone.infer_video(
                seen, self.num_frames, self.window_step, self.frames_per_batch
            )
        else:
            described = features_of_frames(self.backbone, seen, self.frames_per_batch)
        for (frame, images), features in described:
            proposals, _ = self.proposal_generator(images, features, None)
            detections, _ = self.roi_heads(images, features, proposals, None)
            yield from self._postprocess(detections, [frame], images.image_sizes)


def _frames_of(clip: dict[str, Any]) -> list[Frame]:
    return list(clip["frames"]) if "frames" in clip else [clip]
