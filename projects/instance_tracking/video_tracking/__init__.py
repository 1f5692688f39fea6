"""Instance tracking on DAVIS. Importing this registers its data sets."""

from video_tracking import datasets
from video_tracking.config import add_tracking_config
from video_tracking.engine import TrackingTrainer

__all__ = ["TrackingTrainer", "add_tracking_config", "datasets"]
