import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from videogcrf_det import InputError
from videogcrf_det.data import load_video_coco_json
from videogcrf_det.data.davis import prepare
from videogcrf_det.data.davis.prepare import (
    OBJECTS,
    Summary,
    davis_sequences,
    prepare_davis_person,
    read_list,
)

REPOSITORY = Path(__file__).parents[2]
SHARED = Path(os.getenv("VIDEOGCRF_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
HEIGHT, WIDTH = 6, 9


def draw(**boxes):
    """A mask with the rows and columns of each box ``x<id>`` = (top, left, bottom, right) set."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, (top, left, bottom, right) in boxes.items():
        mask[top:bottom, left:right] = int(name[1:])
    return mask


def save_mask(path, mask, mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(mask, np.uint8))
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.convert(mode).save(path)


def save_sequence(root, name, masks, mode="P", stems=None):
    for index, mask in enumerate(masks):
        stem = stems[index] if stems else f"{index:05d}"
        frame = root / "JPEGImages/480p" / name / f"{stem}.jpg"
        frame.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (mask.shape[1], mask.shape[0]), (index, 90, 200)).save(frame)
        save_mask(root / "Annotations/480p" / name / f"{stem}.png", mask, mode)


def save_lists(root, semantics, train, val=()):
    (root / "davis_semantics.json").write_text(json.dumps(semantics))
    folder = root / "ImageSets" / "2017"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in train))
    (folder / "val.txt").write_text("".join(f"{name}\n" for name in val))


PAIR = [
    draw(x1=(0, 0, 3, 2), x2=(1, 4, 5, 7)),
    draw(x2=(1, 5, 5, 8), x255=(0, 0, 2, 3)),  # person 1 is hidden; a do-not-care region
    draw(x3=(2, 2, 4, 4)),  # a bicycle alone
]


@pytest.fixture
def davis(tmp_path):
    """Sequence "pair" of two persons and a bicycle, "bike" of a bicycle, in the list of train."""
    root = tmp_path / "DAVIS"
    save_sequence(root, "pair", PAIR)
    save_sequence(root, "bike", [draw(x1=(0, 0, 2, 2))])
    semantics = {"pair": {"1": "person", "2": "person", "3": "bicycle"}, "bike": {"1": "bicycle"}}
    save_lists(root, semantics, ["pair", "bike"])
    return root


def load(root, split="train"):
    return json.loads((root / f"annotations/davis_person_{split}.json").read_text())


def decoded(content):
    """(image id, track id, iscrowd) -> mask, as pycocotools sees it."""
    return {
        (a["image_id"], a["track_id"], a["iscrowd"]): mask_util.decode(a["segmentation"])
        for a in content["annotations"]
    }


def test_indexed_masks(davis):
    summary = prepare_davis_person(davis, "train")
    content = load(davis)
    assert content["videos"] == [{"id": 1, "name": "pair", "length": 3}]
    assert content["categories"] == [{"id": 1, "name": "person"}]
    assert [(i["id"], i["video_id"], i["frame_id"]) for i in content["images"]] == [
        (1, 1, 0),
        (2, 1, 1),
        (3, 1, 2),
    ]
    assert content["images"][2]["file_name"] == "480p/pair/00002.jpg"
    assert {(i["height"], i["width"]) for i in content["images"]} == {(HEIGHT, WIDTH)}
    masks = decoded(content)
    assert set(masks) == {(1, 1, 0), (1, 2, 0), (2, 2, 0), (2, 0, 1)}
    for (image, track, crowd), mask in masks.items():
        np.testing.assert_array_equal(mask, PAIR[image - 1] == (255 if crowd else track))
    first = content["annotations"][0]
    assert (first["id"], first["category_id"]) == (1, 1)
    assert (first["bbox"], first["area"]) == ([0, 0, 2, 3], 6)
    assert (summary.sequences, summary.frames) == (1, 3)
    assert (summary.instances, summary.ignore_regions) == (3, 1)
    assert summary.without_person == ["bike"]


def test_detectron2_loads_what_is_written(davis):
    output = prepare_davis_person(davis, "train").output
    records = load_video_coco_json(output, davis / "JPEGImages")
    assert [Path(record["file_name"]).is_file() for record in records] == [True] * 3
    assert [record["video_name"] for record in records] == ["pair"] * 3
    assert [len(record["annotations"]) for record in records] == [2, 2, 0]


def test_frames_are_in_the_order_of_their_numbers(davis):
    masks = [draw(x1=(0, 0, 1, 1 + index)) for index in range(3)]
    save_sequence(davis, "counted", masks, stems=["9", "10", "100"])
    save_lists(davis, {"counted": {"1": "person"}}, ["counted"])
    prepare_davis_person(davis, "train")
    content = load(davis)
    names = [Path(image["file_name"]).stem for image in content["images"]]
    assert names == ["9", "10", "100"]
    assert [a["area"] for a in content["annotations"]] == [1, 2, 3]


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_masks_of_0_and_255_are_one_person(tmp_path, mode):
    masks = [draw(x255=(0, 0, 2, 5)), draw(), draw(x255=(3, 1, 6, 9))]
    save_sequence(tmp_path, "dance", masks, mode="P" if mode == "P" else "L")
    if mode == "1":
        for index, mask in enumerate(masks):
            save_mask(tmp_path / f"Annotations/480p/dance/{index:05d}.png", mask, "1")
    if mode == "P":  # indices of 0 and 255, whatever their colours
        assert Image.open(tmp_path / "Annotations/480p/dance/00000.png").mode == "P"
    summary = prepare_davis_person(tmp_path, "val", sequences=["dance"])
    masks_written = decoded(load(tmp_path, "val"))
    assert set(masks_written) == {(1, 1, 0), (3, 1, 0)}
    for (image, _, _), mask in masks_written.items():
        np.testing.assert_array_equal(mask, masks[image - 1] == 255)
    assert (summary.frames, summary.ignore_regions) == (3, 0)


def test_named_sequences_of_indexed_masks_take_persons_from_the_semantics(davis):
    summary = prepare_davis_person(davis, "val", sequences=["bike", "pair"])
    assert summary.without_person == ["bike"]
    assert decoded(load(davis, "val")).keys() == {(1, 1, 0), (1, 2, 0), (2, 2, 0), (2, 0, 1)}


def test_all_objects_are_one_instance_a_frame(davis):
    """Indexed masks with all their objects, 255 in them do-not-care; masks of 0 and 255."""
    save_sequence(davis, "bear", [draw(x255=(0, 0, 2, 5)), draw()], mode="L")
    (davis / "davis_semantics.json").unlink()
    (davis / "ImageSets/2016").mkdir()
    (davis / "ImageSets/2016/train.txt").write_text("pair\nbear\n")
    summary = prepare_davis_person(davis, "train", all_objects=True)
    assert summary.output == davis / "annotations/davis_2016_objects_train.json"
    content = json.loads(summary.output.read_text())
    assert content["categories"] == [{"id": 1, "name": "object"}]
    masks = decoded(content)
    assert set(masks) == {(1, 1, 0), (3, 1, 0), (4, 1, 0), (4, 0, 1), (5, 1, 0)}
    np.testing.assert_array_equal(masks[1, 1, 0], draw(x1=(0, 0, 2, 5)))
    np.testing.assert_array_equal(masks[3, 1, 0], PAIR[0] > 0)
    np.testing.assert_array_equal(masks[4, 1, 0], PAIR[1] == 2)
    np.testing.assert_array_equal(masks[4, 0, 1], PAIR[1] == 255)
    text = str(summary)
    assert "2 sequences, 5 frames, 4 object instances, 1 do-not-care region" in text
    assert "bear (2, not 82)" in text
    assert "not among the sequences of DAVIS-2016: pair" in text


def test_the_first_frames_of_every_sequence(davis):
    summary = prepare_davis_person(davis, "train", first=2)
    assert summary.output.name == "davis_person_train_2.json"
    content = json.loads(summary.output.read_text())
    assert content["videos"] == [{"id": 1, "name": "pair", "length": 2}]
    assert set(decoded(content)) == {(1, 1, 0), (1, 2, 0), (2, 2, 0), (2, 0, 1)}
    with pytest.raises(InputError, match="--first is 0: give a number of frames"):
        prepare_davis_person(davis, "train", first=0)


def test_one_frame_in_two(davis):
    summary = prepare_davis_person(davis, "train", step=2)
    assert summary.output.name == "davis_person_train_step_2.json"
    images = json.loads(summary.output.read_text())["images"]
    assert [Path(image["file_name"]).stem for image in images] == ["00000", "00002"]
    assert [image["frame_id"] for image in images] == [0, 1]
    with pytest.raises(InputError, match="--step is 0: give a number of frames"):
        prepare_davis_person(davis, "train", step=0)


def test_labels_of_one_frame_in_so_many(davis):
    summary = prepare_davis_person(davis, "train", every=2)
    assert summary.output.name == "davis_person_train_every_2.json"
    content = json.loads(summary.output.read_text())
    assert [image.get("annotated", True) for image in content["images"]] == [True, False, True]
    assert set(decoded(content)) == {(1, 1, 0), (1, 2, 0)}
    assert summary.instances == 2
    with pytest.raises(InputError, match="--label-every is 0: give a number of frames"):
        prepare_davis_person(davis, "train", every=0)


@pytest.mark.parametrize(("split", "counts"), [("train", (30, 2079)), ("val", (20, 1376))])
def test_the_sequences_of_davis_2016(split, counts):
    frames_of = davis_sequences(split, OBJECTS)
    assert (len(frames_of), sum(frames_of.values())) == counts


def test_objects_take_no_semantics(davis):
    with pytest.raises(InputError, match="leave out --semantics"):
        prepare_davis_person(
            davis, "train", all_objects=True, semantics=davis / "davis_semantics.json"
        )


def test_do_not_care_masks(davis, tmp_path):
    drawn = draw(x7=(4, 0, 6, 9))
    save_mask(tmp_path / "ignore/pair/00001.png", drawn, "L")  # no other frame has one
    save_mask(tmp_path / "ignore/pair/00002.png", draw(), "L")
    summary = prepare_davis_person(davis, "train", ignore_masks=tmp_path / "ignore")
    crowds = [a for a in load(davis)["annotations"] if a["iscrowd"]]
    assert {(a["image_id"], a["track_id"]) for a in crowds} == {(2, 0)}
    masks = [mask_util.decode(a["segmentation"]) for a in crowds]
    # what is not connected is a region of its own
    expected = [PAIR[1] == 255, drawn > 0]
    np.testing.assert_array_equal(masks, expected)
    assert [a["bbox"] for a in crowds] == [[0, 0, 3, 2], [0, 4, 9, 2]]
    assert summary.ignore_regions == 2


def test_parts_that_touch_at_a_corner_are_one_region(davis, tmp_path):
    drawn = draw(x7=(2, 0, 3, 1), x8=(3, 1, 4, 2))
    save_mask(tmp_path / "ignore/pair/00000.png", drawn, "L")
    prepare_davis_person(davis, "train", ignore_masks=tmp_path / "ignore")
    crowds = [a for a in load(davis)["annotations"] if a["iscrowd"] and a["image_id"] == 1]
    assert [a["bbox"] for a in crowds] == [[0, 2, 2, 2]]


def test_the_file_does_not_depend_on_the_order_of_names(davis, tmp_path):
    save_sequence(davis, "alone", [draw(x255=(0, 0, 1, 1))])
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    prepare_davis_person(davis, "train", sequences=["pair", "alone"], output=files[0])
    prepare_davis_person(davis, "train", sequences=["alone", "pair"], output=files[1])
    assert files[0].read_bytes() == files[1].read_bytes()
    videos = json.loads(files[0].read_text())["videos"]
    assert [(video["id"], video["name"]) for video in videos] == [(1, "alone"), (2, "pair")]


def test_a_partial_copy_is_prepared_and_accounted_for(davis, tmp_path):
    semantics = json.loads((davis / "davis_semantics.json").read_text())
    save_lists(davis, {**semantics, "absent": {"1": "person"}}, ["absent", "bike", "pair"])
    text = str(prepare_davis_person(davis, "train"))
    assert "1 sequence, 3 frames, 3 person instances, 1 do-not-care region" in text
    assert "left out, having no person: 1 sequence" in text
    assert "missing, having no folder of frames: 1 sequence (absent)" in text
    assert "DAVIS-Person train has 40 sequences with 2820 frames, this file 1 with 3" in text
    assert "not among the sequences of DAVIS-Person: pair" in text
    other = prepare_davis_person(davis, "train", output=tmp_path / "mini.json")
    assert "DAVIS-Person" not in str(other)


@pytest.mark.parametrize(("split", "counts"), [("train", (40, 2820)), ("val", (18, 1182))])
def test_the_sequences_of_davis_person(split, counts):
    frames_of = davis_sequences(split)
    assert (len(frames_of), sum(frames_of.values())) == counts
    path = Path(prepare.__file__).with_name(f"davis_person_{split}.txt")
    assert read_list(path) == list(frames_of)  # the file serves --sequences-file as well
    if (SHARED / "DAVIS2017").is_dir():
        names = read_list(SHARED / f"DAVIS2017/ImageSets/2017/{split}.txt")
        semantics = json.loads((SHARED / "DAVIS2017/davis_semantics.json").read_text())
        persons = [name for name in names if "person" in semantics[name].values()]
        assert sorted(persons) == list(frames_of)


def test_without_a_list_the_sequences_are_those_of_davis_person(davis):
    """A copy that has a part of one sequence, and no ImageSets."""
    (davis / "ImageSets/2017/train.txt").unlink()
    (davis / "davis_semantics.json").write_text('{"lucia": {"1": "person"}}')
    save_sequence(davis, "lucia", [draw(x1=(0, 0, 3, 2))] * 2)
    text = str(prepare_davis_person(davis, "train"))
    assert "1 sequence, 2 frames, 2 person instances" in text
    assert "missing, having no folder of frames: 39 sequences (bmx-bumps, " in text
    assert "other numbers of frames than in DAVIS: lucia (2, not 70)" in text
    assert "this file 1 with 2: results on it do not compare" in text


def test_the_whole_of_davis_person_is_said_nothing_about():
    def summary(frames_of):
        return str(Summary("val", Path("davis_person_val.json"), frames_of, 9, 0, [], []))

    frames_of = davis_sequences("val")
    assert summary(frames_of).count("\n") == 0
    assert "parkour (99, not 100)" in summary({**frames_of, "parkour": 99})


def frame(root, stem, sequence="pair"):
    return root / "JPEGImages/480p" / sequence / f"{stem}.jpg"


def mask(root, stem, sequence="pair"):
    return root / "Annotations/480p" / sequence / f"{stem}.png"


def cut(path):
    path.write_bytes(path.read_bytes()[: -2 if path.suffix == ".jpg" else -26])


def remove_folder(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


BREAKAGES = {
    "a mask is missing": (
        lambda root: mask(root, "00001").unlink(),
        r"pair: frames without a mask in .*: 00001\.jpg",
    ),
    "a frame is missing": (
        lambda root: frame(root, "00001").unlink(),
        r"pair: masks without a frame in .*: 00001\.png",
    ),
    "no masks": (
        lambda root: remove_folder(mask(root, "00000").parent),
        r"sequences have no folder of masks in .*: pair",
    ),
    "no frames": (
        lambda root: [frame(root, f"0000{index}").unlink() for index in range(3)],
        r"pair: there are no frames \(\*\.jpg\) in ",
    ),
    "another size": (
        lambda root: save_mask(mask(root, "00002"), np.zeros((4, 5))),
        r"pair: masks in .* not of the size of their frames: 00002\.png \(5x4, not 9x6\)",
    ),
    "sizes vary": (
        lambda root: (
            Image.new("RGB", (5, 4)).save(frame(root, "00002")),
            save_mask(mask(root, "00002"), np.zeros((4, 5))),
        ),
        r"pair: the frames in .* are not all of one size",
    ),
    "a cut frame": (
        lambda root: cut(frame(root, "00000")),
        r"pair: cannot read images in .*: 00000\.jpg \(the file is cut short\)",
    ),
    "an empty frame": (
        lambda root: frame(root, "00000").write_bytes(b""),
        r"pair: cannot read images in .*: 00000\.jpg \(not an image\)",
    ),
    "a cut mask": (
        lambda root: cut(mask(root, "00000")),
        r"pair: cannot read masks in .*: 00000\.png",
    ),
    "a mask in colours": (
        lambda root: Image.new("RGB", (5, 4), (128, 0, 0)).save(mask(root, "00000")),
        r"pair: masks in .* neither indexed nor of 0 and 255: 00000\.png \(RGB\)",
    ),
    "an unnamed object": (
        lambda root: save_mask(mask(root, "00002"), draw(x9=(0, 0, 1, 1))),
        r"pair: .* object ids that .*davis_semantics\.json does not name: 9",
    ),
    "an unnamed sequence": (
        lambda root: save_lists(root, {}, ["pair"]),
        r"pair: .*davis_semantics\.json does not name the objects in .* \(ids 1, 2, 3\)",
    ),
    "0 and 255, not named": (
        lambda root: [
            save_mask(mask(root, f"0000{index}"), draw(x255=(0, 0, 2, 2)), "L")
            for index in range(3)
        ],
        r"masks of 0 and 255 do not say .* --sequences: pair",
    ),
    "no person": (
        lambda root: [save_mask(mask(root, f"0000{index}"), draw()) for index in range(3)],
        r"no person to be seen .*: 1 of 2 sequences have none by .*, 0 have no folder of frames",
    ),
    "an empty list": (
        lambda root: (root / "ImageSets/2017/train.txt").write_text("\n"),
        r"train\.txt names no sequence",
    ),
    "a name twice": (
        lambda root: save_lists(root, {}, ["pair", "pair"]),
        r"sequences are named more than once: pair",
    ),
    "a path for a name": (
        lambda root: save_lists(root, {}, ["../pair"]),
        r"names of sequences are names of folders, without a path: \.\./pair",
    ),
    "no semantics": (
        lambda root: (root / "davis_semantics.json").unlink(),
        r"no file .*davis_semantics\.json to say which objects are persons: .* --semantics",
    ),
    "bad semantics": (
        lambda root: (root / "davis_semantics.json").write_text('{"pair": {"one": "person"}}'),
        r"cannot read .*davis_semantics\.json",
    ),
    "no such resolution": (
        lambda root: (root / "Annotations/480p").rename(root / "Annotations/240p"),
        r"no folder .*Annotations/480p: name another with --resolution \(.*Annotations has 240p\)",
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_each_problem_has_its_sentence_and_nothing_is_written(davis, breakage):
    damage, sentence = BREAKAGES[breakage]
    damage(davis)
    with pytest.raises(InputError, match=sentence) as error:
        prepare_davis_person(davis, "train")
    assert "problems" not in str(error.value)  # one kind of damage is one problem
    assert not (davis / "annotations").exists()


def test_problems_of_do_not_care_masks(davis, tmp_path):
    with pytest.raises(InputError, match=r"do-not-care masks .*absent does not exist"):
        prepare_davis_person(davis, "train", ignore_masks=tmp_path / "absent")
    save_mask(tmp_path / "ignore/pair/00007.png", draw(), "L")
    save_mask(tmp_path / "ignore/pair/00000.png", np.zeros((4, 5)), "L")
    with pytest.raises(InputError, match=r"do-not-care masks .* without a frame: 00007\.png") as e:
        prepare_davis_person(davis, "train", ignore_masks=tmp_path / "ignore")
    assert "00000.png (5x4, not 9x6)" in str(e.value)


def test_a_named_sequence_must_exist(davis):
    with pytest.raises(InputError, match=r"no folder of frames in .*480p: absent, gone"):
        prepare_davis_person(davis, "train", sequences=["gone", "pair", "absent"])


def test_values_that_are_neither_0_nor_255_need_names(davis):
    (davis / "davis_semantics.json").unlink()
    save_mask(mask(davis, "00000"), draw(x254=(0, 0, 1, 1), x255=(2, 2, 3, 3)), "L")
    with pytest.raises(InputError, match=r"pair: .* \(ids 2, 3, 254\), which only masks of 0 and"):
        prepare_davis_person(davis, "train", sequences=["pair"])


def test_all_problems_are_told_at_once(davis):
    save_sequence(davis, "second", PAIR)
    semantics = {"pair": {"1": "person", "2": "person", "3": "dog"}, "second": {"1": "person"}}
    save_lists(davis, semantics, ["pair", "second"])
    for index in range(3):
        cut(frame(davis, f"0000{index}"))
    mask(davis, "00000", "second").unlink()
    with pytest.raises(InputError) as error:
        prepare_davis_person(davis, "train")
    lines = str(error.value).splitlines()
    assert lines[0] == "3 problems, nothing was written:"
    assert "00000.jpg" in lines[1]
    assert "00002.jpg" in lines[1]
    assert "frames without a mask" in lines[2]
    assert lines[3].endswith("does not name: 2, 3")
    assert not (davis / "annotations").exists()


def test_many_problems_are_capped_and_counted(davis):
    names = [f"s{index:02d}" for index in range(30)]
    for name in names:
        save_sequence(davis, name, PAIR[:1])
        cut(frame(davis, "00000", name))
    save_lists(davis, {name: {"1": "person", "2": "dog"} for name in names}, names)
    with pytest.raises(InputError) as error:
        prepare_davis_person(davis, "train")
    lines = str(error.value).splitlines()
    assert lines[0].startswith("30 problems")
    assert len(lines) == 22
    assert lines[-1].endswith("and 10 more")


def test_a_previous_file_stays_when_the_data_is_bad(davis):
    output = prepare_davis_person(davis, "train").output
    before = output.read_bytes()
    cut(frame(davis, "00000"))
    with pytest.raises(InputError, match="cut short"):
        prepare_davis_person(davis, "train")
    assert output.read_bytes() == before


def test_an_output_that_cannot_be_written(davis):
    (davis / "blocked").write_text("a file")
    with pytest.raises(InputError, match=r"cannot write .*blocked/x\.json .*--output"):
        prepare_davis_person(davis, "train", output=davis / "blocked" / "x.json")


def test_no_root(tmp_path):
    with pytest.raises(InputError, match="absent is not a folder"):
        prepare_davis_person(tmp_path / "absent", "train")


def test_lists_of_names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("b\n\na\n")
    assert read_list(path) == ["b", "a"]
    with pytest.raises(InputError, match=r"cannot read the list of sequences .*absent\.txt"):
        read_list(tmp_path / "absent.txt")


@pytest.mark.slow
def test_the_tool(davis, tmp_path):
    tool = [sys.executable, str(REPOSITORY / "tools" / "prepare_davis_person.py")]
    names = tmp_path / "names.txt"
    names.write_text("pair\n")
    arguments = ["--root", str(davis), "--split", "val", "--sequences-file", str(names)]
    done = subprocess.run([*tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 sequence, 3 frames, 3 person instances, 1 do-not-care region" in done.stdout
    assert load(davis, "val")["videos"][0]["name"] == "pair"
    names.write_text("gone\n")
    done = subprocess.run([*tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: sequences have no folder of frames" in done.stderr


@pytest.mark.skipif(not (SHARED / "DAVIS2017").is_dir(), reason="no real DAVIS at hand")
def test_davis_2017(tmp_path):
    root, output = SHARED / "DAVIS2017", tmp_path / "train.json"
    summary = prepare_davis_person(root, "train", resolution="240p", output=output)
    # schoolgirls is the one sequence that is there: four girls, three backpacks
    assert (summary.sequences, summary.frames, len(summary.missing)) == (1, 80, 39)
    content = json.loads(output.read_text())
    assert {a["track_id"] for a in content["annotations"]} == {1, 3, 5, 7}
    assert {(i["width"], i["height"]) for i in content["images"]} == {(432, 240)}
    indexed = np.array(Image.open(root / "Annotations/240p/schoolgirls/00000.png"))
    for track in (1, 3, 5, 7):
        np.testing.assert_array_equal(decoded(content)[1, track, 0], indexed == track)


@pytest.mark.skipif(not (SHARED / "DAVIS").is_dir(), reason="no real DAVIS at hand")
def test_davis_2016(tmp_path):
    summary = prepare_davis_person(
        SHARED / "DAVIS",
        "val",
        resolution="240p",
        sequences=["dance-twirl"],
        output=tmp_path / "val.json",
    )
    assert (summary.sequences, summary.frames, summary.instances) == (1, 90, 90)
    content = json.loads((tmp_path / "val.json").read_text())
    binary = np.array(Image.open(SHARED / "DAVIS/Annotations/240p/dance-twirl/00000.png"))
    np.testing.assert_array_equal(decoded(content)[1, 1, 0], binary == 255)


@pytest.mark.parametrize("first", ["walk", "# sequences\nwalk"])
def test_a_byte_order_mark_is_no_part_of_a_list(tmp_path, first):
    """Editors on Windows write one; the first sequence would not be found."""
    path = tmp_path / "val.txt"
    path.write_text(f"{first}\nrun\n", encoding="utf-8-sig")
    assert read_list(path) == ["walk", "run"]
