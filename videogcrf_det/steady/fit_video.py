"""Footage and a detector in, a file of fields out: videogcrf fit."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from tabulate import tabulate

from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.drawing.overlay import Picture, draw_instances
from videogcrf_det.drawing.panels import side_by_side, write_png
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.motion.estimate import motion_from
from videogcrf_det.steady.attach import attach, detach, detect_video
from videogcrf_det.steady.clips import Clips, collect_clips, read_clip
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.fields import Fields, SteadyFields, channels_of
from videogcrf_det.steady.fit import FitOptions, Fitter, Restored, held_out_rng
from videogcrf_det.steady.labels import LabelledClips
from videogcrf_det.steady.ready_made import ReadyMade
from videogcrf_det.steady.spoil import spoil_clip
from videogcrf_det.video.find import find_videos

LEAST_SCORE = 0.5  # of detections that are drawn


def fit_video(
    detector: Detector,
    videos: Sequence[str],
    output: str | Path,
    options: FitOptions,
    *,
    resume: bool = False,
    evaluate: Callable[[CfgNode], Any] | None = None,
) -> SteadyFields:
    """Fit fields to a detector on raw footage and write them.

    Args:
        detector: see load_detector. It is not changed.
        videos: files, folders of frames, folders of either, or patterns of such.
        output: the file of fields. A folder beside it, ``<name>_fit``, gets the clips, checkpoints,
            TensorBoard's events, the table and pictures.
        options: see FitOptions.
        resume: go on with an interrupted fit of the same name.
        evaluate: called at the end with the detector's config, which then names the fields.

    Returns:
        the fields.

    Raises:
        InputError: there are no videos, they are too short, the detector has no features, or the
            output cannot be written.
    """
    output = Path(output)
    if output.is_dir():
        raise InputError(f"--output {output} is a folder: name a file, such as fields.pth")
    folder = output.with_name(f"{output.stem}_fit")
    if folder.exists() and not resume:
        if not folder.is_dir() or not ({p.name for p in folder.iterdir()} <= OWN or _ours(folder)):
            raise InputError(f"{folder} is there and of something else: name another --output")
        if (folder / "fit.pth").exists():
            (folder / "fit.pth").unlink()
    if evaluate is not None:
        _check_evaluation(detector)
    labels = _labels(detector) if options.objective == "labels" else None
    paths = find_videos(videos)
    channels_of(detector.model)  # a model that has no features is named before reading
    folder.mkdir(parents=True, exist_ok=True)
    clips = collect_clips(
        paths, folder / "clips", detector.resize, [detector.min_size, detector.max_size]
    )
    print(f"{len(clips.train)} clips to fit on, {len(clips.held_out)} held out", flush=True)
    torch.manual_seed(detector.seed)
    start = ReadyMade.load().picture if options.ready_made else None
    refined = {"refine": REFINED} if options.refine else {}
    fields = SteadyFields.for_model(detector.model, start, **refined)
    fields.source = detector.source
    fields.motion = "dis" if options.motion else ""
    fitter = Fitter([detector], fields, clips, folder, options, labels=labels)
    if resume:
        fitter.resume()
    fitter.run()
    table = restored_table(fitter.restored())
    with atomic_write(folder / "restored.md") as path:
        path.write_text(table + "\n")
    print(f"\n{table}\n")
    pictures = draw_before_and_after(detector, fields, clips, folder / "before_and_after.png")
    fields.save(output)
    size = output.stat().st_size / 1e6
    print(f"wrote {output} ({size:.1f} MB)" + (f"; look at {pictures}" if pictures else ""))
    if evaluate is not None:
        evaluate(_with_fields(detector, output))
    return fields


def write_moving_average(
    detector: Detector,
    share: float,
    output: str | Path,
    *,
    evaluate: Callable[[CfgNode], Any] | None = None,
) -> None:
    """Write fields that average with fixed weights, for comparison; see SteadyFields."""
    if evaluate is not None:
        _check_evaluation(detector)
    fields = SteadyFields.moving_average(detector.model, share)
    fields.source = detector.source
    fields.save(output)
    if evaluate is not None:
        evaluate(_with_fields(detector, output))


def _labels(detector: Detector) -> LabelledClips:
    if detector.cfg is None:
        raise InputError(
            "--objective labels needs a YAML config, which has DATASETS.TRAIN: use --objective "
            "features"
        )
    return LabelledClips(detector.cfg)


def _check_evaluation(detector: Detector) -> None:
    if detector.cfg is None:
        raise InputError("--evaluate needs a YAML config, which has DATASETS.TEST: leave it out")


def _with_fields(detector: Detector, fields: str | Path) -> CfgNode:
    assert detector.cfg is not None
    return changed_cfg(detector.cfg, "MODEL.VIDEO_GCRF.FIELDS", str(fields))


REFINED = 32  # channels of refinements
OWN = {"clips", "fit.pth", "restored.md", "before_and_after.png"}


def _ours(folder: Path) -> bool:
    return (folder / "clips" / "clips.json").is_file()


def restored_table(restored: Restored) -> str:
    """Markdown: by level, what is restored of spoilt features, and the change of clear ones."""
    rows = []
    for name, spoilt in restored.spoilt.items():
        shares = [1 - part[name] / spoilt for part in (restored.smoothed, restored.past)]
        before, after = (kind.get(name, 0.0) for kind in restored.throughout)
        changes = [restored.clear[name], restored.clear_past[name]]
        row = [name, f"{spoilt:.3f}", *(f"{s:.0%}" for s in shares), *(f"{c:.4f}" for c in changes)]
        rows.append([*row, f"{1 - after / before:.0%}"] if before else row)
    headings = [
        "level",
        "error of spoilt features",
        "restored",
        "restored, latency 0",
        "change of clear ones",
        "change, latency 0",
        "restored, spoilt throughout",
    ][: len(rows[0])]
    return tabulate(rows, headings, tablefmt="pipe", disable_numparse=True)


def draw_before_and_after(
    detector: Detector, fields: Fields, clips: Clips, path: Path, most: int = 4
) -> Path | None:
    """Detections on spoilt frames of held-out clips, without and with fields, as one PNG.

    Returns:
        its path; None for models that give no instances.
    """
    spoilt = []  # of each clip its clear frame, all frames as they are seen, and which it is
    for index, folder in enumerate(clips.held_out[:most]):
        frames = read_clip(folder)
        changed = spoil_clip(frames, held_out_rng(index))
        which = sorted(changed)[len(changed) // 2]
        seen = [changed.get(position, frame) for position, frame in enumerate(frames)]
        spoilt.append((frames[which], seen, which))
    with torch.no_grad():
        before = [detector.model([detector.record(seen[which])])[0] for _, seen, which in spoilt]
    if any("instances" not in found for found in before):
        return None
    attach(detector.model, fields, latency=None, motion=motion_from(fields.motion))
    after = [
        list(detect_video(detector.model, map(detector.record, seen)))[which]
        for _, seen, which in spoilt
    ]
    detach(detector.model)
    rows = []
    for (clear, seen, which), *found in zip(spoilt, before, after, strict=True):
        pictures = [("Clear", np.ascontiguousarray(clear[:, :, ::-1]))]
        pictures += [
            (caption, _drawn(seen[which], each["instances"]))
            for caption, each in zip(("Spoilt, per frame", "With fields"), found, strict=True)
        ]
        rows.append(side_by_side(pictures))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    write_png(path, np.concatenate(padded))
    return path


def _drawn(frame: np.ndarray, found: Instances) -> Picture:
    found = found.to("cpu")[found.scores.cpu() > LEAST_SCORE]
    boxes = found.pred_boxes.tensor.numpy()
    if found.has("pred_masks"):
        masks = found.pred_masks.numpy()
    else:
        masks = np.zeros((len(found), *frame.shape[:2]), bool)
    labels = [f"{score:.0%}" for score in found.scores.tolist()]
    picture = np.ascontiguousarray(frame[:, :, ::-1])
    return draw_instances(
        picture, masks, list(range(len(found))), labels=labels, boxes=boxes, own_size=True
    )
