"""Fit a field to a depth network of single frames on raw videos, without labels."""

from videogcrf_det.cli import run_tool

EPILOG = """
    python fit_video.py --config-file configs/MiniDAVIS/R_18_frames.yaml \\
        --weights output/MiniDAVIS/R_18_frames/model_final.pth \\
        --videos footage/ --output fields.pth

No depth is read and the network stays as it is. docs/steady.md says what is done, and to what: here
to log depth.
"""


def main() -> None:
    from video_depth import VideoDepth, run

    from videogcrf_det.errors import InputError
    from videogcrf_det.steady.command_line import argument_parser, fit_as_asked
    from videogcrf_det.steady.detector import load_detector

    args = argument_parser(__doc__, EPILOG).parse_args()
    network = load_detector(args.config_file, args.weights, args.opts)
    if isinstance(network.model, VideoDepth) and network.model.chain is not None:
        raise InputError(
            f"the network of {args.config_file} has a chain of its own: set MODEL.DEPTH_HEAD.CHAIN "
            "False, or name one of single frames"
        )
    fit_as_asked(args, network, lambda cfg: run(cfg, eval_only=True))


if __name__ == "__main__":
    run_tool(main)
