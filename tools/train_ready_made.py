"""Train the ready-made fields that come with the package, on free footage, for several backbones.

docs/steady.md says on what those were trained that the package ships.
"""

import argparse

from videogcrf_det.cli import run_tool


def main() -> None:
    from videogcrf_det.steady.fit import FitOptions
    from videogcrf_det.steady.train_ready_made import train_ready_made
    from videogcrf_det.video.find import add_videos_argument

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--backbones",
        nargs="+",
        required=True,
        metavar="'CONFIG KEY VALUE ...'",
        help="detectors whose features are to be restored, each with its overrides in one word",
    )
    add_videos_argument(parser, required=True)
    parser.add_argument("--output", default="output/ready_made.pth", help="default: %(default)s")
    parser.add_argument("--iterations", type=int, default=1200, help="default: %(default)s")
    parser.add_argument("--motion", action="store_true", help="follow the optical flow")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    args = parser.parse_args()
    options = FitOptions(args.iterations, rate=RATE, motion=args.motion)
    train_ready_made(args.backbones, args.videos, args.output, options, resume=args.resume)


RATE = 6e-3

if __name__ == "__main__":
    run_tool(main)
