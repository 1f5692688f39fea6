"""A folder in the layout of DAVIS -> COCO-format JSON with the persons, or objects, of frames."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from videogcrf_det.data.davis.folder import (
    PERSON,
    DavisFolder,
    Frame,
    Problems,
    read_semantics,
    read_sequence,
)
from videogcrf_det.data.few_labels import label_every
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.progress import progress


@dataclass(frozen=True)
class Subset:
    """A part of DAVIS, and its name."""

    title: str
    name: str  # of files, before _train and _val
    year: str  # folder of lists below ImageSets
    category: str

    def file_name(
        self,
        split: str,
        first: int | None = None,
        step: int = 1,
        every: int = 1,
        suffix: str = "json",
    ) -> str:
        """The name of a file with some frames of videos; see prepare_davis_person."""
        parts = [self.name, split] + [str(first)] * (first is not None)
        parts += [f"step_{step}"] * (step > 1) + [f"every_{every}"] * (every > 1)
        return f"{'_'.join(parts)}.{suffix}"


PERSONS = Subset("DAVIS-Person", "davis_person", "2017", PERSON)
OBJECTS = Subset("DAVIS-2016", "davis_2016_objects", "2016", "object")


def davis_sequences(split: str, subset: Subset = PERSONS) -> dict[str, int]:
    """The sequences of a subset of DAVIS and their numbers of frames (docs/datasets.md)."""
    listed = resources.files(__package__) / subset.file_name(split, suffix="txt")
    text = listed.read_text("utf-8")
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: int(frames) for name, frames in lines}


@dataclass(frozen=True)
class Summary:
    """The files that were written, and the sequences that were left out."""

    split: str
    output: Path
    frames_of: dict[str, int]  # sequence -> number of frames
    instances: int
    ignore_regions: int
    without_person: list[str]
    missing: list[str]  # sequences of the split's list that have no folder of frames
    subset: Subset = PERSONS

    @property
    def sequences(self) -> int:
        return len(self.frames_of)

    @property
    def frames(self) -> int:
        return sum(self.frames_of.values())

    def __str__(self) -> str:
        lines = [
            f"{self.output}: {_count(self.sequences, 'sequence')}, {_count(self.frames, 'frame')}, "
            f"{_count(self.instances, f'{self.subset.category} instance')}, "
            f"{_count(self.ignore_regions, 'do-not-care region')}"
        ]
        if self.without_person:
            lines.append(f"left out, having no person: {len(self.without_person)} sequences")
        if self.missing:
            lines.append(
                f"missing, having no folder of frames: {_count(len(self.missing), 'sequence')} "
                f"({', '.join(self.missing)})"
            )
        if self.output.name == self.subset.file_name(self.split):
            lines += self._differences()
        return "\n".join(lines)

    def _differences(self) -> list[str]:
        """The difference of the file from the whole subset, if any."""
        expected, title = davis_sequences(self.split, self.subset), self.subset.title
        if self.frames_of == expected:
            return []
        others = [name for name in self.frames_of if name not in expected]
        counts = [
            f"{name} ({frames}, not {expected[name]})"
            for name, frames in self.frames_of.items()
            if frames != expected.get(name, frames)
        ]
        return [
            *([f"other numbers of frames than in DAVIS: {', '.join(counts)}"] if counts else []),
            *([f"not among the sequences of {title}: {', '.join(others)}"] if others else []),
            f"note: {title} {self.split} has {len(expected)} sequences with "
            f"{sum(expected.values())} frames, this file {self.sequences} with {self.frames}: "
            "results on it do not compare with results on the whole",
        ]


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """Names of sequences from a text file: the first word of each line that is no #comment.

    Raises:
        InputError: there is no such file, or nothing in it.
    """
    try:
        # editors on Windows begin a file with a byte-order mark, which is no part of a name
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the list of sequences {path} ({error}): give a text file with one name "
            "a line"
        ) from error
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise InputError(f"{path} names no sequence: give a text file with one name a line")
    return names


def prepare_davis_person(
    root: str | os.PathLike[str],
    split: str,
    *,
    resolution: str = "480p",
    sequences: Sequence[str] | None = None,
    semantics: str | os.PathLike[str] | None = None,
    ignore_masks: str | os.PathLike[str] | None = None,
    all_objects: bool = False,
    first: int | None = None,
    step: int = 1,
    every: int = 1,
    output: str | os.PathLike[str] | None = None,
) -> Summary:
    """Write the persons of a folder in the layout of DAVIS as COCO instances.

    Indexed masks (DAVIS-2017) hold the persons that ``semantics`` names; 255 in them is
    do-not-care. A mask of 0 and 255 (DAVIS-2016) is one person, in sequences that ``sequences``
    names. Ids do not depend on the order in which sequences are given.

    With ``all_objects`` the foreground of a frame, whatever it is, is one instance of the class
    "object", as in DAVIS-2016: the 255 of its masks, or all objects of an indexed mask together.

    Args:
        root: folder with JPEGImages and Annotations.
        split: "train" or "val". Its sequences are those of ImageSets/2017/<split>.txt (where there
            is no such file, of DAVIS-Person) that have a person, unless ``sequences`` names others;
            with ``all_objects``, those of ImageSets/2016/<split>.txt, or else of DAVIS-2016.
        resolution: folder between JPEGImages and the sequences.
        sequences: names of sequences, all of which must exist.
        semantics: JSON {sequence: {object id: category}}; root/davis_semantics.json by default.
        ignore_masks: folder with <sequence>/<frame>.png, non-zero where do-not-care; frames and
            sequences without one have no such region.
        first: number of frames to take of each sequence; None: all.
        step: take one frame in N, as a camera of a lower frame rate does.
        every: keep the labels of every N-th frame; the others are context (few_labels.py).
        output: file to write; by default root/annotations/davis_person_<split>.json, or with
            ``all_objects`` davis_2016_objects_<split>.json, with the numbers above at the end.

    Raises:
        InputError: naming everything that is wrong with the data. Nothing is written then.
    """
    root = Path(root)
    subset = OBJECTS if all_objects else PERSONS
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: give one with JPEGImages and Annotations")
    for flag, number in (("--first", first), ("--step", step)):
        if number is not None and number < 1:
            raise InputError(f"{flag} is {number}: give a number of frames, 1 or more")
    if all_objects and semantics is not None:
        raise InputError("--all-objects takes objects of all categories: leave out --semantics")
    target = root / "annotations" / subset.file_name(split, first, step, every)
    target = target if output is None else Path(output)
    if target.resolve() == _semantics_file(root, semantics).resolve():
        raise InputError(f"--output {target} would replace --semantics: name another file")
    problems = Problems()
    names = _sequence_names(root, split, sequences, subset, problems)
    explicit = sequences is not None
    folder = _open(root, resolution, semantics, ignore_masks, explicit, all_objects, problems)
    problems.raise_any()
    videos, without_person, missing = _read_videos(folder, names, problems)
    videos = {name: frames[::step][:first] for name, frames in videos.items()}
    content = _to_coco(videos, f"{subset.category}s of {split}, {resolution}", subset.category)
    labelled = label_every(content["images"], content["annotations"], every)
    content["images"], content["annotations"] = labelled
    instances = sum(1 - annotation["iscrowd"] for annotation in content["annotations"])
    if not instances and not problems:
        problems.add(
            f"there is no {subset.category} to be seen in {folder.images()}: "
            f"{len(without_person)} of {len(names)} sequences have none by {folder.semantics}, "
            f"{len(missing)} have no folder of frames"
        )
    problems.raise_any()
    _write(target, content)
    return Summary(
        split=split,
        output=target,
        frames_of={name: len(frames) for name, frames in videos.items()},
        instances=instances,
        ignore_regions=len(content["annotations"]) - instances,
        without_person=without_person,
        missing=missing,
        subset=subset,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _sequence_names(
    root: Path,
    split: str,
    sequences: Sequence[str] | None,
    subset: Subset,
    problems: Problems,
) -> list[str]:
    names: list[str] = []
    if sequences is not None:
        names = list(sequences)
    else:
        path = root / "ImageSets" / subset.year / f"{split}.txt"
        names = read_list(path) if path.is_file() else list(davis_sequences(split, subset))
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.add("sequences are named more than once", name)
        if Path(name).name != name or name == "..":
            problems.add("names of sequences are names of folders, without a path", name)
    return sorted(names)


def _semantics_file(root: Path, semantics: str | os.PathLike[str] | None) -> Path:
    return root / "davis_semantics.json" if semantics is None else Path(semantics)


def _open(
    root: Path,
    resolution: str,
    semantics: str | os.PathLike[str] | None,
    ignore_masks: str | os.PathLike[str] | None,
    explicit: bool,
    all_objects: bool,
    problems: Problems,
) -> DavisFolder:
    path = _semantics_file(root, semantics)
    categories = {}
    if all_objects:
        pass  # what an object is does not matter
    elif path.is_file():
        try:
            categories = read_semantics(path)
        except InputError as error:
            problems.add(str(error))
    elif semantics is not None or not explicit:
        problems.add(
            f"there is no file {path} to say which objects are persons: name one with --semantics, "
            "or for masks of 0 and 255 name the sequences with --sequences"
        )
    ignored = None if ignore_masks is None else Path(ignore_masks)
    if ignored is not None and not ignored.is_dir():
        problems.add(f"the folder of do-not-care masks {ignored} does not exist")
    folder = DavisFolder(root, resolution, path, categories, ignored, explicit, all_objects)
    for needed in [folder.images(), folder.masks()]:
        if not needed.is_dir():
            others = (path.name for path in needed.parent.glob("*") if path.is_dir())
            problems.add(
                f"there is no folder {needed}: name another with --resolution ({needed.parent} "
                f"has {', '.join(sorted(others)) or 'none'})"
            )
    return folder


def _read_videos(
    folder: DavisFolder, names: list[str], problems: Problems
) -> tuple[dict[str, list[Frame]], list[str], list[str]]:
    """Sequence -> frames; the sequences without a person; those without a folder of frames."""
    videos: dict[str, list[Frame]] = {}
    without_person, missing = [], []
    for name in progress(names, desc="reading", unit="sequence"):
        categories = folder.categories.get(name)
        if not folder.one_person and categories and PERSON not in categories.values():
            without_person.append(name)  # its masks need not be there
        elif folder.images(name).is_dir():
            frames = read_sequence(folder, name, problems)
            if frames is None:
                without_person.append(name)
            else:
                videos[name] = frames
        elif folder.one_person:
            problems.add(f"sequences have no folder of frames in {folder.images()}", name)
        else:
            missing.append(name)
    return videos, without_person, missing


def _to_coco(videos: Mapping[str, list[Frame]], description: str, category: str) -> dict[str, Any]:
    """COCO's instance format, with ids counted from 1 in the order of videos, frames, regions."""
    listed: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for video_id, (name, frames) in enumerate(videos.items(), start=1):
        listed.append({"id": video_id, "name": name, "length": len(frames)})
        for frame_id, frame in enumerate(frames):
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": frame.file_name,
                    "height": frame.height,
                    "width": frame.width,
                    "video_id": video_id,
                    "frame_id": frame_id,
                }
            )
            for region in frame.regions:
                ids = {"id": len(annotations) + 1, "image_id": len(images)}
                annotations.append({**ids, **region})
    return {
        "info": {"description": description},
        "videos": listed,
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": category}],
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): name another file with --output"
        ) from error
