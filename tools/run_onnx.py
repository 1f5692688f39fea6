"""Detections of a file of videogcrf export, by onnxruntime, NumPy and Pillow alone."""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image


def detect(model, frames):
    """Yield boxes (N, 4), classes (N,), scores (N,) and masks (N, H, W) of RGB frames (H, W, 3)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    height, width, _ = session.get_inputs()[0].shape
    order = -1 if session.get_modelmeta().custom_metadata_map["format"] == "BGR" else 1
    names = [each.name for each in session.get_outputs()]
    # zeros: there is no frame before
    state = {each.name: np.zeros(each.shape, np.float32) for each in session.get_inputs()[1:]}
    for frame in frames:
        image = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::order])
        made = dict(zip(names, session.run(names, {"image": pixels, **state}), strict=True))
        state = {name: made[f"next.{name}"] for name in state}
        probabilities = made.get("masks", made["boxes"][:0])  # none of a detector without masks
        masks = [paste(mask, made["boxes"][i], frame.shape) for i, mask in enumerate(probabilities)]
        yield made["boxes"], made["classes"], made["scores"], masks


def paste(mask, box, shape):
    """A mask (M, M) in a box as pixels of the whole frame, bilinear as detectron2's are."""

    def weights(size, start, end):
        places = ((np.arange(size) + 0.5 - start) / (end - start) * len(mask) - 0.5)[:, None]
        return np.maximum(0, 1 - np.abs(places - np.arange(len(mask))))

    x0, y0, x1, y1 = box
    return weights(shape[0], y0, y1) @ mask @ weights(shape[1], x0, x1).T >= 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, metavar="FILE", help="an .onnx file")
    parser.add_argument("--input", required=True, metavar="FOLDER", help="frames, named in order")
    args = parser.parse_args()
    for path in (args.model, args.input):
        if not Path(path).exists():
            parser.error(f"there is no {path}")
    frames = (np.asarray(Image.open(p).convert("RGB")) for p in sorted(Path(args.input).iterdir()))
    for number, found in enumerate(detect(args.model, frames)):
        for box, category, score in zip(*(part.tolist() for part in found[:3]), strict=True):
            print(json.dumps({"frame": number, "class": category, "score": score, "box": box}))


if __name__ == "__main__":
    main()
