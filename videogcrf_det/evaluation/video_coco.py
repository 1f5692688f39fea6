"""detectron2's COCO evaluation, fed with videos."""

from typing import Any

from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm
from tqdm import tqdm


class VideoCOCOEvaluator(COCOEvaluator):
    """COCO AP over the frames of all videos, every frame counting as an image."""

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take the detections of videos, reading them frame by frame.

        Args:
            inputs: videos as VideoDatasetMapper makes them.
            outputs: what ClipRCNN gives for them: for each an iterable of ``{"instances": ...}``.
        """
        for video, detections in zip(inputs, outputs, strict=True):
            pairs = zip(video["records"], detections, strict=True)
            for record, detection in tqdm(
                pairs,
                desc=str(video["video_name"]),
                total=len(video["records"]),
                unit="frame",
                leave=False,
                disable=not comm.is_main_process(),
            ):
                super().process([record], [detection])
