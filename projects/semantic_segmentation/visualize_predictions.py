"""Draw the frames that two models label most differently, beside the ground truth."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
Both models have been evaluated on the data set:

    python visualize_predictions.py --run output/CamVid/quick_R_50_3f/joint \\
        --baseline output/CamVid/quick_R_50_unary
"""


def main() -> None:
    import video_semseg  # noqa: F401 - registers the data sets
    from video_semseg.visualize import visualize_predictions

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", required=True, metavar="DIR", help="OUTPUT_DIR of a model with a VideoGCRF"
    )
    parser.add_argument(
        "--baseline", required=True, metavar="DIR", help="that of the network without it"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: the only one of --run")
    parser.add_argument(
        "--num-frames", type=int, default=4, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--output", default="output/predictions.png", metavar="FILE", help="default: %(default)s"
    )
    args = parser.parse_args()
    visualize_predictions(
        args.run, args.baseline, args.output, dataset=args.dataset, num_frames=args.num_frames
    )
    print(f"wrote {args.output}")


if __name__ == "__main__":
    run_tool(main)
