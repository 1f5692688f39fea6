"""Train and evaluate semantic segmentation of videos, phase by phase."""

from videogcrf_det.cli import launch_tool, run_tool

EPILOG = """
All three phases, one after the other; phases that are finished are left out:

    python train_net.py --config-file configs/CamVid/quick_R_50_3f.yaml

One phase, from the weights of the one before; then its evaluation again:

    python train_net.py --config-file FILE --phase pairwise
    python train_net.py --config-file FILE --phase joint --eval-only
"""


def work(args) -> None:
    """The work of each process."""
    from video_semseg import SemanticTrainer

    from videogcrf_det.engine import build_cfg
    from videogcrf_det.segmentation import run_phases

    cfg = build_cfg(args.config_file, args.opts)
    run_phases(SemanticTrainer, cfg, args)


def main() -> None:
    from videogcrf_det.segmentation import phase_argument_parser

    launch_tool(work, phase_argument_parser(EPILOG).parse_args())


if __name__ == "__main__":
    run_tool(main)
