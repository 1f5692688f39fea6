"""Fit fields to a detector on raw videos, so that it stays steady where frames are hard to see."""

from videogcrf_det.cli import run_tool

EPILOG = """
    videogcrf fit --config-file COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml \\
        --videos footage/ --output fields.pth
    videogcrf demo --fields fields.pth --input new.mp4 --output steady.mp4 --compare-baseline

No label is read and the detector stays as it is. Ctrl-C stops, and --resume goes on. docs/steady.md
has the rest.
"""


def main() -> None:
    from videogcrf_det.engine import run
    from videogcrf_det.steady.command_line import argument_parser, fit_as_asked
    from videogcrf_det.steady.detector import load_detector

    args = argument_parser(__doc__, EPILOG).parse_args()
    detector = load_detector(args.config_file, args.weights, args.opts)
    fit_as_asked(args, detector, lambda cfg: run(cfg, eval_only=True))


if __name__ == "__main__":
    run_tool(main)
