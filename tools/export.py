"""Write a detector with fields as an ONNX or TorchScript file."""

from videogcrf_det.cli import add_opts, run_tool, tool_parser

EPILOG = """
    videogcrf export --fields fields.pth --input new.mp4 --output detector.onnx
    videogcrf run-onnx --model detector.onnx --input frames/

One frame and the state of the fields go in, detections and the next state come out. Of a detector
with VideoGCRFs a window of frames goes in, as TorchScript. docs/deployment.md has the rest.
"""


def main() -> None:
    from videogcrf_det.export import export_detector
    from videogcrf_det.steady.detector import add_detector_arguments, asked_cfg

    parser = tool_parser(__doc__, EPILOG)
    add_detector_arguments(parser, ahead=False)
    parser.add_argument(
        "--input",
        required=True,
        metavar="INPUT",
        help="a video or a folder of images: frames of this size are what the file is for",
    )
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="ends with .onnx, or .pt for TorchScript"
    )
    add_opts(parser)
    args = parser.parse_args()
    export_detector(asked_cfg(args), args.input, args.output)


if __name__ == "__main__":
    run_tool(main)
