"""Detect and follow instances in many videos, shared among processes and machines."""

from videogcrf_det.cli import add_opts, run_tool, tool_parser

EPILOG = """
    videogcrf process-videos --fields fields.pth --videos footage/ --output results/ \\
        --num-gpus 8
    torchrun --nproc-per-node 8 tools/process_videos.py --fields fields.pth --videos footage/ \\
        --output results/

What is done is left out: after a machine went down, start the same again. docs/deployment.md has
the rest.
"""


def main() -> None:
    from videogcrf_det.batch import process_videos
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.demo import DETECTION_OPTIONS
    from videogcrf_det.steady.detector import add_detector_arguments, asked_cfg
    from videogcrf_det.video.find import add_videos_argument

    parser = tool_parser(__doc__, EPILOG)
    add_detector_arguments(parser)
    add_data_arguments(parser)
    add_videos_argument(parser, required=True)
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="gets detections and summary.json"
    )
    for flag, settings in DETECTION_OPTIONS.items():
        parser.add_argument(flag, **settings)
    parser.add_argument(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="processes, each with a GPU, or on the CPU where there is none; default: 1",
    )
    parser.add_argument(
        "--num-machines",
        type=int,
        default=1,
        metavar="N",
        help="machines that each do a part of the list; those that share a disk need not be told",
    )
    parser.add_argument(
        "--machine-rank", type=int, default=0, metavar="I", help="which of them this is, from 0"
    )
    add_opts(parser)
    args = parser.parse_args()
    process_videos(
        asked_cfg(args, data_options(args)),
        args.videos,
        args.output,
        processes=args.num_gpus,
        machines=args.num_machines,
        machine=args.machine_rank,
        confidence_threshold=args.confidence_threshold,
        longest_gap=args.longest_gap,
    )


if __name__ == "__main__":
    run_tool(main)
