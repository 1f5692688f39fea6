"""Train and evaluate depth estimation on videos."""

from videogcrf_det.cli import launch_tool, run_tool

EPILOG = """
Single frames first, then with a chain over time, from their weights:

    python train_net.py --config-file configs/MiniDAVIS/R_18_frames.yaml
    python train_net.py --config-file configs/MiniDAVIS/R_18_4f.yaml

Evaluate again, or fields of fit_video.py in the network of single frames:

    python train_net.py --config-file FILE --eval-only MODEL.WEIGHTS model_final.pth
    python train_net.py --config-file configs/MiniDAVIS/R_18_frames.yaml --eval-only \\
        MODEL.WEIGHTS model_final.pth MODEL.VIDEO_GCRF.FIELDS fields.pth
"""


def work(args) -> None:
    """The work of each process."""
    from detectron2.engine import default_setup
    from video_depth import run

    from videogcrf_det.engine import build_cfg

    cfg = build_cfg(args.config_file, args.opts)
    default_setup(cfg, args)
    run(cfg, resume=args.resume, eval_only=args.eval_only)


def main() -> None:
    from detectron2.engine import default_argument_parser

    launch_tool(work, default_argument_parser(EPILOG).parse_args())


if __name__ == "__main__":
    run_tool(main)
