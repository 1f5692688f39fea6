"""Train and evaluate a detector on clips, with the flags of detectron2's tools/train_net.py."""

from videogcrf_det.cli import launch_tool, run_tool

EPILOG = """
Train on one GPU, or on the CPU where there is none:

    videogcrf train --config-file DAVIS-Person/video_gcrf_R_50_FPN_4f

Go on after an interruption, evaluate, change a key:

    videogcrf train --config-file FILE --resume
    videogcrf train --config-file FILE --eval-only MODEL.WEIGHTS output/model_final.pth
    videogcrf train --config-file FILE SOLVER.IMS_PER_BATCH 1 OUTPUT_DIR output/other

Your own data (docs/datasets.md):

    videogcrf train --config-file FILE --train-data street=train.json:images \\
        --test-data street_val=val.json:images

--num-gpus 2 starts two processes, on the CPU where there are no GPUs.
"""


def work(args) -> None:
    """The work of each process."""
    from videogcrf_det.engine import run, setup

    run(setup(args), resume=args.resume, eval_only=args.eval_only)


def main() -> None:
    from detectron2.engine import default_argument_parser

    from videogcrf_det.data.own_data import add_data_arguments

    parser = default_argument_parser(EPILOG)
    add_data_arguments(parser)
    launch_tool(work, parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
