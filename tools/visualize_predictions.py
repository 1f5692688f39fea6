"""Draw input, ground truth and predictions beside each other, as pictures and as mp4 videos."""

import argparse

from videogcrf_det.cli import run_tool

EPILOG = """
The predictions of an evaluation, which COCO results files hold:

    videogcrf visualize-predictions --config-file FILE \\
        --predictions output/inference/davis_person_val/coco_instances_results.json

Or those of a trained detector, which then runs:

    videogcrf visualize-predictions --config-file FILE --opts MODEL.WEIGHTS model_final.pth
"""


def main() -> None:
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.drawing import visualize_predictions
    from videogcrf_det.engine import build_cfg

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    add_data_arguments(parser)
    parser.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST")
    parser.add_argument("--predictions", metavar="FILE", help="a coco_instances_results.json")
    parser.add_argument(
        "--output", default="output/predictions", metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.5, metavar="P", help="default: %(default)s"
    )
    parser.add_argument("--fps", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--max-videos", type=int, metavar="N", help="default: all")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides"
    )
    args = parser.parse_args()
    videos = visualize_predictions(
        build_cfg(args.config_file, [*data_options(args), *args.opts]),
        args.output,
        dataset=args.dataset,
        predictions=args.predictions,
        confidence_threshold=args.confidence_threshold,
        fps=args.fps,
        max_videos=args.max_videos,
    )
    print(f"wrote {len(videos)} videos to {args.output}")


if __name__ == "__main__":
    run_tool(main)
