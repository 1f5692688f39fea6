"""Table 3, "spatial": a random field over each frame by itself."""

from .video_gcrf_R_50_FPN_4f import dataloader, lr_multiplier, model, optimizer, train  # noqa: F401

model.backbone.temporal_dim = 0
model.num_frames = 1
dataloader.train.clips_per_batch = 8  # 8 frames
train.output_dir = "output/lazy/video_gcrf_R_50_FPN_spatial"
