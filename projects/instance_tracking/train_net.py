"""Train and evaluate instance tracking, phase by phase."""

from videogcrf_det.cli import launch_tool, run_tool

EPILOG = """
The network that make_unaries.py starts with; then the random field on the unaries that it wrote:

    python train_net.py --config-file configs/DAVIS-2016/parent_R_50.yaml --phase unary
    python train_net.py --config-file configs/DAVIS-2016/R_50_3f.yaml INPUT.UNARIES unaries

The given unaries alone, and a trained model again:

    python train_net.py --config-file FILE --phase unary --eval-only INPUT.UNARIES unaries
    python train_net.py --config-file FILE --phase joint --eval-only INPUT.UNARIES unaries
"""


def work(args) -> None:
    """The work of each process."""
    from video_tracking import TrackingTrainer, add_tracking_config

    from videogcrf_det.engine import build_cfg
    from videogcrf_det.segmentation import run_phases

    cfg = build_cfg(args.config_file, args.opts, add_tracking_config)
    run_phases(TrackingTrainer, cfg, args)


def main() -> None:
    from videogcrf_det.segmentation import phase_argument_parser

    launch_tool(work, phase_argument_parser(EPILOG).parse_args())


if __name__ == "__main__":
    run_tool(main)
