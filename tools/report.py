"""Write a page about a run: figures, curves, videos, and where it differs from a baseline."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
A run is the OUTPUT_DIR of a training or an evaluation:

    python tools/report.py --run output/DAVIS-Person/video_gcrf_R_50_FPN_4f \\
        --baseline output/DAVIS-Person/mask_rcnn_R_50_FPN --output output/report
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, metavar="DIR", help="what the page is about")
    parser.add_argument("--baseline", metavar="DIR", help="what it is compared with")
    parser.add_argument(
        "--output", default="output/report", metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: the one of the evaluation")
    parser.add_argument("--title", help="the headline")
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.5, metavar="P", help="default: %(default)s"
    )
    parser.add_argument("--fps", type=float, default=10, help="default: %(default)s")
    args = parser.parse_args()

    from videogcrf_det.visualization.report import write_report

    page = write_report(
        args.output,
        args.run,
        args.baseline,
        dataset=args.dataset,
        title=args.title,
        confidence_threshold=args.confidence_threshold,
        fps=args.fps,
    )
    print(f"page: {page}")


if __name__ == "__main__":
    run_tool(main)
