"""Time what fields add to Mask R-CNN R-50-FPN at 480x854, and the memory that a video takes."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from benchmarks.association import time_association
from videogcrf_det.cli import run_tool
from videogcrf_det.memory import forget_peak_memory, peak_memory
from videogcrf_det.motion.estimate import MotionEstimator, motion_from
from videogcrf_det.steady.attach import Pictures
from videogcrf_det.steady.fields import Fields, SteadyFields
from videogcrf_det.steady.ready_made import ReadyMade
from videogcrf_det.steady.stream import Features, FieldStream

CONFIG = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"
SIZE = (480, 854)
LENGTHS = (30, 3000)  # frames of the videos whose memory is compared


def time_fields(repeats: int, latency: int, device: str) -> dict[str, float]:
    """Seconds a frame, medians of interleaved runs: the detector, the fields, and optical flow.

    Mask R-CNN R-50-FPN with random weights and 10 detections a frame; fields at p2 to p6.

    Returns:
        by "detector", "fields" (fitted ones), "ready-made", "flow" (both directions, at half the
        size).
    """
    model = _model(device)
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *SIZE), generator=generator, dtype=torch.uint8)
    frame = {"image": image, "height": SIZE[0], "width": SIZE[1]}
    images = model.preprocess_image([frame]).tensor
    pictures, motion = Pictures(model), motion_from("dis")
    assert isinstance(motion, MotionEstimator)

    def steady(fields: Fields) -> Callable[[], object]:
        stream = FieldStream(latency)
        fields = fields.to(device)
        return lambda: list(stream.push(features, fields.describe(features, pictures(images))))

    with torch.no_grad():
        features = model.backbone(images)
        work = {
            "detector": lambda: model([frame]),
            "fields": steady(SteadyFields.for_model(model)),
            "ready-made": steady(ReadyMade.load()),
            "flow": lambda: motion(pictures(images)),
        }
        times: dict[str, list[float]] = {name: [] for name in work}
        for number in range(repeats + 2):
            for name, call in work.items():
                start = time.perf_counter()
                call()
                if device.startswith("cuda"):
                    torch.cuda.synchronize()
                if number >= 2:  # the first ones warm up
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def memory_of_fields(latency: int) -> dict[int, int | None]:
    """MiB that the process holds at most while a stream takes a video of 240x427, by its frames.

    None where a system does not let us tell.
    """
    torch.manual_seed(0)
    fields = SteadyFields({"p2": 256, "p3": 256})
    result: dict[int, int | None] = {}
    for length in LENGTHS:
        counted = forget_peak_memory()
        with torch.no_grad():
            stream = FieldStream(latency)
            for features in _random_features(length):
                list(stream.push(features, fields.describe(features, torch.zeros(1, 3, 1, 1))))
        peak = peak_memory()
        result[length] = round(peak / 2**20) if counted and peak is not None else None
    return result


def _random_features(length: int) -> Iterator[Features]:
    for _ in range(length):
        yield {"p2": torch.rand(1, 256, 60, 107), "p3": torch.rand(1, 256, 30, 54)}


def _model(device: str) -> Any:
    cfg = get_cfg()
    cfg.merge_from_file(model_zoo.get_config_file(CONFIG))
    cfg.merge_from_list(["MODEL.WEIGHTS", "", "MODEL.DEVICE", device])
    cfg.merge_from_list(
        ["TEST.DETECTIONS_PER_IMAGE", "10", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0."]
    )
    torch.manual_seed(0)
    return build_model(cfg).eval()


def main() -> None:
    """Print what this file and association.py measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fields", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--latency", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    args = parser.parse_args()
    milliseconds = 1000 * time_association(4 * args.repeats)
    print(f"association of 20 instances, without the flow: {milliseconds:.1f} ms a frame")
    for frames, mebibytes in memory_of_fields(args.latency).items():
        print(f"{frames:5d} frames of 240x427: at most {mebibytes} MiB held")
    seconds = time_fields(args.repeats, args.latency, args.device)
    for name, value in seconds.items():
        share = value / seconds["detector"]
        print(f"{name:10s} {1000 * value:8.1f} ms a frame, {share:6.1%} of the detector")


if __name__ == "__main__":
    run_tool(main)
