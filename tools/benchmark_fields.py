"""Time what fields add to Mask R-CNN R-50-FPN at 480x854, and the memory that a video takes."""

import argparse

from videogcrf_det.cli import run_tool


def main() -> None:
    from videogcrf_det.benchmark.association import time_association
    from videogcrf_det.benchmark.fields import memory_of_fields, time_fields

    parser = argparse.ArgumentParser(description=__doc__)
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
