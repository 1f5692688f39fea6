"""Clips, optimizer and schedule of all configs on DAVIS-Person: Base-DAVIS-Person.yaml."""

import torch
from detectron2 import model_zoo
from detectron2.config import LazyCall as L
from detectron2.data import build_detection_test_loader
from detectron2.data import transforms as T
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from videogcrf_det.data import (
    ClipDatasetMapper,
    VideoDatasetMapper,
    build_clip_train_loader,
    load_clips,
    load_videos,
)
from videogcrf_det.evaluation import VideoCOCOEvaluator

_resizing = dict(max_size=1333, sample_style="choice")
_images = dict(
    image_format="${model.input_format}", use_instance_mask=True, instance_mask_format="bitmask"
)
dataloader = dict(
    train=L(build_clip_train_loader)(
        clips=L(load_clips)(
            dataset_names=["davis_person_train"], num_frames="${model.num_frames}", stride=1
        ),
        mapper=L(ClipDatasetMapper)(
            is_train=True,
            augmentations=[
                L(T.ResizeShortestEdge)(short_edge_length=[480], **_resizing),
                L(T.RandomFlip)(),
            ],
            **_images,
        ),
        clips_per_batch=8,
        seed="${train.seed}",
        num_workers=4,
    ),
    test=L(build_detection_test_loader)(
        dataset=L(load_videos)(dataset_name="davis_person_val"),
        mapper=L(VideoDatasetMapper)(
            is_train=False,
            augmentations=[L(T.ResizeShortestEdge)(short_edge_length=480, **_resizing)],
            **_images,
        ),
        num_workers=4,
    ),
    evaluator=L(VideoCOCOEvaluator)(
        dataset_name="${..test.dataset.dataset_name}",
        tasks=["bbox", "segm"],
        output_dir="${train.output_dir}/inference/${.dataset_name}",
    ),
)

optimizer = model_zoo.get_config("common/optim.py").SGD
optimizer.lr = 0.01

# milestones are parts of the training: another train.max_iter stretches or compresses them all
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[12000, 16000]),
    warmup_factor=0.001,
    warmup_length=1000 / 16000,
)

train = model_zoo.get_config("common/train.py").train
train.max_iter = 16000
train.eval_period = 0  # at the end alone
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
train.seed = -1  # another one every time
train.device = "cuda" if torch.cuda.is_available() else "cpu"
