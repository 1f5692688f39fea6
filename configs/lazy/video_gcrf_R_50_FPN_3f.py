"""Table 3, 3 frames: VideoGCRF over clips of 3 frames."""

from .video_gcrf_R_50_FPN_4f import dataloader, lr_multiplier, model, optimizer, train  # noqa: F401

model.num_frames = 3
dataloader.train.clips_per_batch = 3  # 9 frames
train.output_dir = "output/lazy/video_gcrf_R_50_FPN_3f"
