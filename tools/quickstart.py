"""Draw a small data set, train and evaluate a detector on it, and write a page that shows it."""

import argparse

from videogcrf_det.cli import run_tool

CONFIG = "configs/quick_schedules/mini_davis_video_gcrf_R_18_FPN_4f.yaml"


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
