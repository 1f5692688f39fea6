"""The demo's detector, from scratch on the drawn data set."""

import torch
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.solver.build import maybe_add_gradient_clipping

from .video_gcrf_R_50_FPN_4f import dataloader, lr_multiplier, model, optimizer, train

model.pixel_std = [57.4, 57.1, 58.4]
model.backbone.update(
    in_features=["p3", "p4"], num_convs=1, conv_dim=32, spatial_dim=32, temporal_dim=32
)
_fpn = model.backbone.bottom_up
_fpn.out_channels = 64
_fpn.bottom_up.freeze_at = 0
_fpn.bottom_up.stem.norm = "GN"
_fpn.bottom_up.stages.update(depth=18, norm="GN")
del _fpn.bottom_up.stages.stride_in_1x1  # bottleneck blocks alone have it

_rpn = model.proposal_generator
_rpn.update(pre_nms_topk=[300, 200], post_nms_topk=[100, 50], batch_size_per_image=64)
_rpn.anchor_generator.update(sizes=[[16], [32], [64], [96], [128]], aspect_ratios=[[1.0, 2.0, 3.0]])
_rpn.head.in_channels = 64

_heads = model.roi_heads
_heads.batch_size_per_image = 24
_heads.box_head.update(input_shape=ShapeSpec(channels=64, height=7, width=7), fc_dims=[256, 256])
_heads.box_predictor.input_shape = ShapeSpec(channels=256)
_heads.mask_head.input_shape = ShapeSpec(channels=64, height=14, width=14)
_heads.mask_head.conv_dims = [64, 64, 64]

dataloader.train.clips.dataset_names = ["mini_davis_person_train"]
dataloader.train.mapper.augmentations[0].short_edge_length = [120]
dataloader.train.update(clips_per_batch=1, num_workers=0)
dataloader.test.dataset.dataset_name = "mini_davis_person_val"
dataloader.test.mapper.augmentations[0].short_edge_length = 120
dataloader.test.num_workers = 0

optimizer._target_ = L(maybe_add_gradient_clipping)(
    cfg=dict(
        SOLVER=dict(
            CLIP_GRADIENTS=dict(ENABLED=True, CLIP_TYPE="norm", CLIP_VALUE=1.0, NORM_TYPE=2.0)
        )
    ),
    optimizer=torch.optim.SGD,
)
lr_multiplier.scheduler.update(values=[0.1**k for k in range(3)], milestones=[440, 550, 600])
lr_multiplier.warmup_length = 100 / 600

train.update(max_iter=600, init_checkpoint="", seed=0)
train.checkpointer.period = 200
train.output_dir = "output/lazy/mini_davis_video_gcrf_R_18_FPN_4f"
