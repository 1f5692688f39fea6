"""Draw input, ground truth and predictions beside each other, as pictures and as mp4 videos."""

from videogcrf_det.cli import add_opts, import_projects, run_tool, tool_parser

EPILOG = """
The predictions of an evaluation, which COCO results files hold:

    videogcrf visualize-predictions --config-file FILE \\
        --predictions output/inference/davis_person_val/coco_instances_results.json

Or those of a trained detector, which then runs:

    videogcrf visualize-predictions --config-file FILE --opts MODEL.WEIGHTS model_final.pth

Of two segmentations that have been evaluated, the frames that they label most differently:

    videogcrf visualize-predictions --run output/CamVid/quick_R_50_3f/joint \
        --baseline output/CamVid/quick_R_50_unary
"""


def main() -> None:
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.drawing import visualize_predictions
    from videogcrf_det.engine import build_cfg
    from videogcrf_det.errors import InputError
    from videogcrf_det.segmentation.compare import compare_predictions

    import_projects()
    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--config-file", metavar="FILE", help="of a detector")
    add_data_arguments(parser)
    parser.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST")
    parser.add_argument("--predictions", metavar="FILE", help="a coco_instances_results.json")
    parser.add_argument(
        "--output", metavar="PATH", help="default: output/predictions, or .png of that with --run"
    )
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.5, metavar="P", help="default: %(default)s"
    )
    parser.add_argument("--fps", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--max-videos", type=int, metavar="N", help="default: all")
    pair = parser.add_argument_group("for two segmentations")
    pair.add_argument("--run", metavar="DIR", help="OUTPUT_DIR of a model with a VideoGCRF")
    pair.add_argument("--baseline", metavar="DIR", help="that of the network without it")
    pair.add_argument("--num-frames", type=int, default=4, metavar="N", help="default: 4")
    add_opts(parser)
    args = parser.parse_args()
    named = [args.config_file, args.run, args.baseline]
    if [each is not None for each in named] not in ([True, False, False], [False, True, True]):
        raise InputError("give --config-file of a detector, or --run and --baseline")
    if args.run is not None:
        output = args.output or "output/predictions.png"
        compare_predictions(
            args.run, args.baseline, output, dataset=args.dataset, num_frames=args.num_frames
        )
        print(f"wrote {output}")
        return
    output = args.output or "output/predictions"
    videos = visualize_predictions(
        build_cfg(args.config_file, [*data_options(args), *args.opts]),
        output,
        dataset=args.dataset,
        predictions=args.predictions,
        confidence_threshold=args.confidence_threshold,
        fps=args.fps,
        max_videos=args.max_videos,
    )
    print(f"wrote {len(videos)} videos to {output}")


if __name__ == "__main__":
    run_tool(main)
