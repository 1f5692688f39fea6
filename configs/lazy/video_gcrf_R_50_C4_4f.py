"""Table 3, 4 frames: VideoGCRF over clips of 4 frames."""

from detectron2.config import LazyCall as L

from videogcrf_det.modeling import VideoGCRFBackbone

from .mask_rcnn_R_50_C4 import dataloader, lr_multiplier, model, optimizer, train  # noqa: F401

# any further keyword argument of VideoGCRF.build can be given here, or on the command line
model.backbone = L(VideoGCRFBackbone)(
    bottom_up=model.backbone,
    in_features=["res4"],
    spatial_dim=128,
    temporal_dim=128,
)
model.num_frames = 4
dataloader.train.clips_per_batch = 2  # 8 frames
train.output_dir = "output/lazy/video_gcrf_R_50_C4_4f"
