"""Table 3, 2 frames: VideoGCRF over clips of 2 frames."""

from .video_gcrf_R_50_FPN_4f import dataloader, lr_multiplier, model, optimizer, train  # noqa: F401

model.num_frames = 2
dataloader.train.clips_per_batch = 4  # 8 frames
train.output_dir = "output/lazy/video_gcrf_R_50_FPN_2f"
