"""Draw what a model finds over a video: instances that it follows, labels of pixels, or depth."""

from videogcrf_det.cli import import_projects, run_tool, tool_parser

EPILOG = """
    videogcrf demo --config-file FILE --steady --input new.mp4 --output steady.mp4
    videogcrf demo --fields fields.pth --input new.mp4 --output steady.mp4 --compare-baseline
    videogcrf demo --config-file FILE --input street.mp4 --output detected.mp4 \\
        --opts MODEL.WEIGHTS model_final.pth
    videogcrf demo --config-file FILE --input frames/ --fps 24 --output detected/ \\
        --json detected.json --opts MODEL.WEIGHTS model_final.pth
    videogcrf demo --config-file FILE --input 0 --output camera.mp4 \\
        --compare-baseline mask_rcnn.pth --opts MODEL.WEIGHTS model_final.pth

Ctrl-C stops early and keeps what there is. docs/demo.md has the rest.
"""


def main() -> None:
    from videogcrf_det.data.own_data import add_data_arguments, data_options
    from videogcrf_det.demo_loop import DEMOS, add_demo_arguments, run_demo
    from videogcrf_det.steady.detector import add_detector_arguments, asked_cfg

    import_projects()
    parser = tool_parser(__doc__, EPILOG)
    add_detector_arguments(parser)
    add_data_arguments(parser)
    add_demo_arguments(parser)
    args = parser.parse_args()
    cfg = asked_cfg(args, data_options(args))
    run_demo(
        cfg,
        args.input,
        args.output,
        fps=args.fps,
        max_frames=args.max_frames,
        baseline=args.compare_baseline,
        **DEMOS.given(args, cfg),
    )


if __name__ == "__main__":
    run_tool(main)
