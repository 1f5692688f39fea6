"""Train a detector on drawn videos, steady it with raw ones, and write a page that shows both."""

import argparse

from videogcrf_det.cli import run_tool

CONFIG = "quick_schedules/mini_davis_mask_rcnn_R_18_FPN.yaml"


def main() -> None:
    from videogcrf_det.quickstart import run_quickstart

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", default=CONFIG, help="default: %(default)s")
    parser.add_argument("--output", default="output/demo", help="folder; default: %(default)s")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for the config")
    args = parser.parse_args()
    run_quickstart(args.config_file, args.output, args.opts)


if __name__ == "__main__":
    run_tool(main)
