"""The baseline on a feature pyramid."""

from detectron2 import model_zoo

from videogcrf_det.modeling import (
    ClipRCNN,
    IgnoreRegionMaskHead,
    IgnoreRegionRPN,
    IgnoreRegionStandardROIHeads,
)

from .common import dataloader, lr_multiplier, optimizer, train  # noqa: F401

model = model_zoo.get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py").model
model.update(_target_=ClipRCNN, num_frames=1, window_step=1)
model.proposal_generator._target_ = IgnoreRegionRPN
model.roi_heads.update(_target_=IgnoreRegionStandardROIHeads, num_classes=1)
model.roi_heads.mask_head._target_ = IgnoreRegionMaskHead
train.output_dir = "output/lazy/mask_rcnn_R_50_FPN"
