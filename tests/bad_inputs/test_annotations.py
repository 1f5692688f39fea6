"""Annotation files that real exports hold: each gives the right result, or one sentence."""

import copy
import json
import math
import re

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from pycocotools import mask as mask_util

from tests.conftest import CONFIG, unregister
from tests.support.annotations import BOTH, DOGS, POLYGON, SIZE, coco, top
from videogcrf_det import InputError
from videogcrf_det.data import (
    load_video_coco_json,
    register_video_coco_instances,
    training_clips,
)
from videogcrf_det.data.annotations import clean_annotations
from videogcrf_det.data.classes import check_classes
from videogcrf_det.engine import VideoTrainer, build_cfg
from videogcrf_det.evaluation import VideoCOCOEvaluator


def square(top=9, left=6, height=26, width=18, size=SIZE):
    mask = np.zeros(size, np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    return mask


def rle(mask):
    encoded = mask_util.encode(np.asfortranarray(mask))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def runs(mask):
    """Uncompressed RLE, counted by hand."""
    flat = mask.ravel(order="F")
    ends = [*np.flatnonzero(np.diff(flat)) + 1, flat.size]
    counts = np.diff([0, *ends]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def changed(part, index=0, remove=(), **values):
    """A file of which one entry has other values."""
    content = coco()
    content[part][index].update(values)
    for key in remove:
        del content[part][index][key]
    return content


def annotation(**values):
    return changed("annotations", **values)


def without(key):
    return changed("annotations", remove=[key])


def every(**values):
    content = coco()
    for each in content["annotations"]:
        each.update(values)
    return content


def ids(*values):
    content = coco()
    for each, value in zip(content["annotations"], values, strict=True):
        each["id"] = value
    return content


def without_top(key):
    return {k: v for k, v in coco().items() if k != key}


# what the loader gives as it does for coco() itself
SAME = {
    "ids from zero": ids(0, 1, 2, 3),
    "ids there twice": ids(1, 2, 1, 2),
    "ids of text": ids("a", "b", "c", "d"),
    "ids of both kinds": ids(1, "1", 2, None),
    "ids below zero": ids(-1, -2, -3, -4),
    "an id that is a fraction": ids(0.5, 1.5, 2.5, 3.5),
    "no id": without("id"),
    "no area": without("area"),
    "area null": annotation(area=None),
    "area 0": annotation(area=0),
    "area NaN": annotation(area=math.nan),
    "no iscrowd": without("iscrowd"),
    "iscrowd null": annotation(iscrowd=None),
    "iscrowd false": annotation(iscrowd=False),
    "no bbox": without("bbox"),
    "bbox null": annotation(bbox=None),
    "bbox empty": annotation(bbox=[]),
    "bbox without an area": annotation(bbox=[6, 9, 0, 0]),
    "image_id 1.0": annotation(image_id=1.0),
    "category_id 1.0": annotation(category_id=1.0),
    "track_id null": annotation(track_id=None),
    "a line beside the polygon": annotation(segmentation=[[1, 1, 5, 5], POLYGON]),
    "an odd polygon beside it": annotation(segmentation=[POLYGON, [1, 1, 5, 5, 9, 9, 3]]),
    "ignore 0": annotation(ignore=0),
    "height 48.0": changed("images", height=48.0, width=64.0),
    "image id 1.0": changed("images", id=1.0),
    "frame_id 0.0": changed("images", frame_id=0.0, video_id=1.0),
    "categories with more keys": top(
        categories=[{"id": 1, "name": "person", "supercategory": None}]
    ),
    "category id 1.0": top(categories=[{"id": 1.0, "name": "person"}]),
    "videos in another order": top(videos=coco()["videos"][::-1]),
    "images in another order": top(images=coco()["images"][::-1]),
    "no info": without_top("info"),
}


@pytest.fixture
def write(tmp_path):
    def write(content, encoding="utf-8"):
        path = tmp_path / "some.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding=encoding)
        return path

    return write


@pytest.fixture
def register(write):
    names = []

    def register(content, name="test_bad_annotations"):
        names.append(name)
        path = write(content)
        path = path.rename(path.with_name(f"{name}.json"))
        register_video_coco_instances(name, path, path.parent)
        return name

    yield register
    for name in names:
        unregister(name)


def seen(records):
    """Everything that matters of loaded frames."""
    return [
        [
            *(record[key] for key in ("file_name", "height", "width", "image_id", "video_id")),
            *(record[key] for key in ("frame_id", "video_name")),
            [
                (a["category_id"], a["iscrowd"], a["bbox"], a["segmentation"])
                for a in record["annotations"]
            ],
        ]
        for record in records
    ]


def truth_of(name):
    """The metrics of detections that are the annotations themselves."""
    evaluator = VideoCOCOEvaluator(name, ("bbox", "segm"))
    evaluator.reset()
    for record in DatasetCatalog.get(name):
        shown = [a for a in record["annotations"] if not a["iscrowd"]]
        found = Instances((record["height"], record["width"]))
        boxes = torch.tensor([a["bbox"] for a in shown], dtype=torch.float32).reshape(-1, 4)
        found.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1))
        found.scores = torch.ones(len(shown))
        found.pred_classes = torch.tensor([a["category_id"] for a in shown], dtype=torch.int64)
        masks = [_mask(a["segmentation"], SIZE) for a in shown]
        found.pred_masks = torch.from_numpy(np.array(masks).reshape(-1, *SIZE)).bool()
        video = {"video_id": None, "video_name": str(record["image_id"]), "records": [record]}
        evaluator.process([{**video, "frames": [record]}], [[{"instances": found}]])
    return evaluator.evaluate()


def _mask(segmentation, size):
    if isinstance(segmentation, dict):
        return mask_util.decode(segmentation)
    return mask_util.decode(mask_util.merge(mask_util.frPyObjects(segmentation, *size)))


@pytest.mark.parametrize("case", SAME)
def test_what_has_a_clear_meaning_is_completed(write, case):
    """As if nothing had been odd, in the loader."""
    expected = seen(load_video_coco_json(write(coco()), ""))
    before = copy.deepcopy(SAME[case])
    records = load_video_coco_json(write(SAME[case]), "")
    assert seen(records) == expected
    clean = clean_annotations(SAME[case], "some.json")
    assert str(SAME[case]) == str(before)  # NaN is not itself
    assert [a["id"] for a in clean["annotations"]] == [1, 2, 3, 4]
    assert [a["area"] for a in clean["annotations"]] == [468] * 4


@pytest.mark.parametrize("case", SAME)
def test_the_truth_itself_scores_100(register, case):
    metrics = truth_of(register(SAME[case]))
    assert metrics["bbox"]["AP"] == pytest.approx(100)
    assert metrics["segm"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("key", ["videos null", "no videos", "videos empty"])
def test_videos_without_names_are_called_by_their_ids(write, key):
    content = without_top("videos") if key == "no videos" else coco()
    if key != "no videos":
        content["videos"] = None if key == "videos null" else []
    records = load_video_coco_json(write(content), "")
    assert [record["video_name"] for record in records] == ["1", "1", "2", "2"]


def test_a_byte_order_mark(write):
    expected = seen(load_video_coco_json(write(coco()), ""))
    assert seen(load_video_coco_json(write(coco(), "utf-8-sig"), "")) == expected


def test_a_byte_order_mark_in_the_evaluation(register):
    name = register(coco())
    path = MetadataCatalog.get(name).json_file
    text = json.dumps(coco())
    with open(path, "w", encoding="utf-8-sig") as file:
        file.write(text)
    assert truth_of(name)["segm"]["AP"] == pytest.approx(100)


def test_image_ids_of_text(register):
    content = coco()
    for image in content["images"]:
        image["id"] = f"frame {image['id']}"
    for each in content["annotations"]:
        each["image_id"] = f"frame {each['image_id']}"
    assert truth_of(register(content))["segm"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("encode", [rle, runs])
@pytest.mark.parametrize("mask", [square(), square(0, 0, *SIZE), square(0, 0, 48, 1)])
def test_run_lengths_are_the_mask(register, encode, mask):
    x, y, w, h = mask_util.toBbox(mask_util.encode(mask)).tolist()
    name = register(annotation(segmentation=encode(mask), bbox=None, area=None))
    (found,) = DatasetCatalog.get(name)[0]["annotations"]
    np.testing.assert_array_equal(mask_util.decode(found["segmentation"]), mask)
    assert found["bbox"] == [x, y, w, h]
    assert truth_of(name)["segm"]["AP"] == pytest.approx(100)


def test_run_lengths_of_any_mask_are_accepted(write):
    """What pycocotools writes is never taken for damaged."""
    rng = np.random.default_rng(0)
    for share in (0.01, 0.3, 0.5, 0.99):
        mask = (rng.random(SIZE) < share).astype(np.uint8)
        records = load_video_coco_json(write(annotation(segmentation=rle(mask))), "")
        np.testing.assert_array_equal(
            mask_util.decode(records[0]["annotations"][0]["segmentation"]), mask
        )


@pytest.mark.parametrize("odd", [None, [], {}])
def test_a_region_that_is_a_box_alone(register, odd):
    """Do-not-care regions need no mask; what lies on them counts neither way."""
    content = annotation(segmentation=odd, iscrowd=1)
    name = register(content)
    (region,) = DatasetCatalog.get(name)[0]["annotations"]
    np.testing.assert_array_equal(_mask(region["segmentation"], SIZE), square())
    assert truth_of(name)["segm"]["AP"] == pytest.approx(100)


LEFT_OUT = {
    "a polygon of one point": annotation(segmentation=[[6, 9]]),
    "a polygon of two points": annotation(segmentation=[[8, 9, 20, 30]]),
    "an odd number of coordinates": annotation(segmentation=[[6, 9, 24, 9, 24, 35, 6]]),
    "an empty polygon": annotation(segmentation=[[]]),
    "three points on a line": annotation(segmentation=[[6, 9, 7, 9, 8, 9]]),
    "three times the same point": annotation(segmentation=[[6, 9, 6, 9, 6, 9]]),
    "an empty mask": annotation(segmentation=rle(np.zeros(SIZE, np.uint8))),
    "an empty mask in runs": annotation(segmentation=runs(np.zeros(SIZE, np.uint8))),
    "a polygon beside the frame": annotation(segmentation=[[70, 9, 90, 9, 90, 35, 70, 35]]),
    "a box without an area": annotation(segmentation=None, bbox=[6, 9, 0, 26]),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_shows_nothing_is_left_out_and_counted(register, caplog, case):
    """In training and in evaluation alike."""
    name = register(LEFT_OUT[case])
    records = DatasetCatalog.get(name)
    assert [len(record["annotations"]) for record in records] == [0, 1, 1, 1]
    assert re.search(r"1 of 4 annotations in \S+\.json left out: 1 w", caplog.text)
    assert truth_of(name)["segm"]["AP"] == pytest.approx(100)


REFUSED = {
    # the file
    "not JSON": ("{", "is not JSON"),
    "cut off": (json.dumps(coco())[:-40], "is not JSON"),
    "nested without end": ("[" * 100_000, "is not JSON"),
    "a list": ([], "has no images"),
    "null": ("null", "has no images"),
    "a number": ("3", "has no images"),
    "images null": (top(images=None), "has no images"),
    "images a number": (top(images=3), "'images' .* is 3, not a list"),
    "images an object": (top(images={"1": {}}), "'images' .* not a list"),
    "annotations an object": (top(annotations={"1": {}}), "'annotations' .* not a list"),
    "videos an object": (top(videos={"1": {}}), "'videos' .* not a list"),
    # categories
    "no categories": (without_top("categories"), "has no categories"),
    "categories null": (top(categories=None), "has no categories"),
    "categories of text": (top(categories=["person"]), "entry 0 of 'categories'"),
    "a category without an id": (top(categories=[{"name": "a"}]), "entry 0 of 'categories'"),
    "a category without a name": (top(categories=[{"id": 1}]), "entry 0 of 'categories'"),
    "a category whose name is empty": (
        top(categories=[{"id": 1, "name": " "}]),
        "entry 0 of 'categories'",
    ),
    "category ids of text": (top(categories=[{"id": "1", "name": "a"}]), "entry 0 of 'categor"),
    "a category id twice": (
        top(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]),
        "category id 1 .* is there twice, as 'a' and 'b'",
    ),
    "a category name twice": (
        top(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]),
        "categories 1 and 2 .* both called 'a'",
    ),
    # videos
    "a video without an id": (top(videos=[{"name": "one"}]), "entry 0 of 'videos'"),
    "a video null": (top(videos=[None]), "entry 0 of 'videos'"),
    "a video id twice": (
        top(videos=[{"id": 1, "name": "one"}, {"id": 1, "name": "two"}]),
        "video id 1 .* is there twice",
    ),
    "a video without frames": (top(videos=[{"id": 9, "name": "x"}]), "'x' .* has no frames"),
    # images
    "an image null": (top(images=[None]), "entry 0 of 'images'"),
    "an image without an id": (changed("images", remove=["id"]), "entry 0 of 'images'"),
    "an image id null": (changed("images", id=None), "entry 0 of 'images'"),
    "an image id twice": (
        changed("images", 2, id=1),
        r"image id 1 .* is there twice, as video1/0\.png and video2/0\.png",
    ),
    "an image id as 1 and 1.0": (changed("images", 2, id=1.0), "image id 1 .* is there twice"),
    "image ids of two kinds": (changed("images", 0, id="x"), "numbers as well as text|image_id 1"),
    "an image id that is a fraction": (changed("images", id=1.5), "image 1.5 .* neither"),
    "an image id true": (changed("images", id=True), "image True .* neither"),
    "an image id that is a list": (changed("images", id=[1]), r"image \[1\] .* neither"),
    "no file_name": (changed("images", remove=["file_name"]), "image 1 .* file_name None"),
    "file_name empty": (changed("images", file_name=""), "image 1 .* file_name ''"),
    "file_name a number": (changed("images", file_name=3), "image 1 .* file_name 3"),
    "no height": (changed("images", remove=["height"]), "image 1 .* height None"),
    "width null": (changed("images", width=None), "image 1 .* width None"),
    "height 48.5": (changed("images", height=48.5), "image 1 .* height 48.5"),
    "height 0": (changed("images", height=0), "image 1 .* height 0"),
    "width below 0": (changed("images", width=-64), "image 1 .* width -64"),
    "width of text": (changed("images", width="64"), "image 1 .* width '64'"),
    "height NaN": (changed("images", height=math.nan), "image 1 .* height nan"),
    "height true": (changed("images", height=True), "image 1 .* height True"),
    "video_id of text": (changed("images", video_id="a"), "image 1 .* video_id 'a'"),
    "frame_id null": (changed("images", frame_id=None), "image 1 .* frame_id None"),
    "frame_id 0.5": (changed("images", frame_id=0.5), "image 1 .* frame_id 0.5"),
    "frame_id twice": (changed("images", 1, frame_id=0), "images 1 and 2 .* both frame 0"),
    # annotations
    "an annotation null": (top(annotations=[None]), "entry 0 of 'annotations'"),
    "an annotation twice": (
        top(annotations=[*coco()["annotations"], coco()["annotations"][1]]),
        "annotation 2 .* is there twice",
    ),
    "an image that is not there": (annotation(image_id=99), "annotation 1 .* image_id 99"),
    "an image id of another kind": (annotation(image_id="1"), "annotation 1 .* image_id '1'"),
    "image_id null": (annotation(image_id=None), "annotation 1 .* image_id None"),
    "no image_id": (without("image_id"), "annotation 1 .* image_id None"),
    "image_id a list": (annotation(image_id=[1]), r"annotation 1 .* image_id \[1\]"),
    "a category that is not there": (annotation(category_id=2), "annotation 1 .* category_id 2"),
    "category_id 0": (annotation(category_id=0), "annotation 1 .* category_id 0"),
    "no category_id": (without("category_id"), "annotation 1 .* category_id None"),
    "category_id of text": (annotation(category_id="1"), "annotation 1 .* category_id '1'"),
    "category_id true": (annotation(category_id=True), "annotation 1 .* category_id True"),
    "iscrowd 2": (annotation(iscrowd=2), "annotation 1 .* iscrowd 2"),
    "iscrowd of text": (annotation(iscrowd="0"), "annotation 1 .* iscrowd '0'"),
    "ignore 1": (annotation(ignore=1), "annotation 1 .* 'ignore'.*iscrowd 1"),
    "area of text": (annotation(area="468"), "annotation 1 .* area '468'"),
    "track_id a list": (annotation(track_id=[1]), r"annotation 1 .* track_id \[1\]"),
    "bbox of three numbers": (annotation(bbox=[1, 2, 3]), r"annotation 1 .* bbox \[1, 2, 3\]"),
    "bbox of text": (annotation(bbox=["1", 2, 3, 4]), "annotation 1 .* bbox"),
    "bbox an object": (annotation(bbox={"x": 1}), "annotation 1 .* bbox"),
    "bbox NaN": (annotation(bbox=[1, math.nan, 3, 4]), "annotation 1 .* bbox"),
    "bbox without end": (annotation(bbox=[1, 2, math.inf, 4]), "annotation 1 .* bbox"),
    "bbox of negative width": (annotation(bbox=[24, 9, -18, 26]), "annotation 1 .* bbox"),
    "bbox outside": (annotation(bbox=[70, 9, 18, 26]), "annotation 1 .* outside its frame"),
    "neither mask nor box": (
        changed("annotations", remove=["bbox", "segmentation"]),
        "annotation 1 .* neither a bbox nor a segmentation",
    ),
    # masks
    "a mask of text": (annotation(segmentation="abc"), "annotation 1 .* segmentation 'abc'"),
    "a mask that is a number": (annotation(segmentation=3), "annotation 1 .* segmentation 3"),
    "a polygon that is not in a list": (
        annotation(segmentation=POLYGON),
        "annotation 1 .* list of",
    ),
    "a polygon of points": (
        annotation(segmentation=[[6, 9], [24, 9], [24, 35], [6, 35]]),
        "annotation 1 .* flat lists",
    ),
    "a polygon of points in a list": (
        annotation(segmentation=[[[6, 9], [24, 9], [24, 35], [6, 35]]]),
        "annotation 1 .* flat lists",
    ),
    "a polygon with null": (
        annotation(segmentation=[[*POLYGON[:7], None]]),
        "annotation 1 .* flat",
    ),
    "a polygon with NaN": (annotation(segmentation=[[*POLYGON[:7], math.nan]]), "annotation 1 .*"),
    "a polygon of text": (annotation(segmentation=[["6", "9"] * 4]), "annotation 1 .* flat"),
    "all coordinates from 0 to 1": (
        every(segmentation=[[0.1, 0.2, 0.4, 0.2, 0.4, 0.7, 0.1, 0.7]], bbox=[0.1, 0.2, 0.3, 0.5]),
        "none of the 4 annotations .* coordinates in pixels",
    ),
    "a mask of another size": (
        annotation(segmentation=rle(square(size=(24, 32), height=9))),
        r"annotation 1 .* size \[24, 32\], its frame \[48, 64\]",
    ),
    "a mask turned": (
        annotation(segmentation=rle(square(size=(64, 48)))),
        r"annotation 1 .* size \[64, 48\], its frame \[48, 64\]",
    ),
    "a mask without a size": (
        annotation(segmentation={"counts": rle(square())["counts"]}),
        "annotation 1 .* size None",
    ),
    "a mask without counts": (
        annotation(segmentation={"size": list(SIZE)}),
        "annotation 1 .* run-",
    ),
    "counts that are too few": (
        annotation(segmentation={"size": list(SIZE), "counts": [100, 20]}),
        "annotation 1 .* run-length",
    ),
    "counts that are too many": (
        annotation(segmentation={"size": list(SIZE), "counts": [3000, 2000]}),
        "annotation 1 .* run-length",
    ),
    "counts below 0": (
        annotation(segmentation={"size": list(SIZE), "counts": [-10, 3082]}),
        "annotation 1 .* run-length",
    ),
    "no counts": (
        annotation(segmentation={"size": list(SIZE), "counts": []}),
        "annotation 1 .* run-length",
    ),
    "counts cut off": (
        annotation(segmentation={**rle(square()), "counts": rle(square())["counts"][:-3]}),
        "annotation 1 .* run-length",
    ),
    "counts that are no code": (
        annotation(segmentation={"size": list(SIZE), "counts": "not a mask!"}),
        "annotation 1 .* run-length",
    ),
    "counts of another alphabet": (
        annotation(segmentation={"size": list(SIZE), "counts": "ééé"}),
        "annotation 1 .* run-length",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_sentence(write, case):
    content, sentence = REFUSED[case]
    path = write(content)
    with pytest.raises(InputError, match=sentence) as error:
        load_video_coco_json(path, "")
    assert str(path) in str(error.value)
    assert ": " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", ["an image id twice", "category_id 0", "a mask turned"])
def test_the_evaluator_refuses_the_same(register, case):
    content, sentence = REFUSED[case]
    name = register(content)
    with pytest.raises(InputError, match=sentence):
        VideoCOCOEvaluator(name, ("bbox", "segm"))


def config(train, test, *opts):
    return build_cfg(
        CONFIG, ["DATASETS.TRAIN", (train,), "DATASETS.TEST", (test,), "MODEL.DEVICE", "cpu", *opts]
    )


@pytest.mark.parametrize("odd", [None, [], {}, "absent"])
def test_instances_without_a_mask(register, odd):
    """They are boxes alone, which a detector of masks cannot use: told before training."""
    content = without("segmentation") if odd == "absent" else annotation(segmentation=odd)
    name = register(content)
    cfg = config(name, name)
    sentence = r"bbox \[6, 9, 18, 26\] of the image 1, \S+, has no segmentation: .*MASK_ON"
    for use in (training_clips, VideoTrainer.check_evaluation):
        with pytest.raises(InputError, match=sentence):
            use(cfg)
    boxes = config(name, name, "MODEL.MASK_ON", False)
    assert len(training_clips(boxes)) == 4
    VideoTrainer.check_evaluation(boxes)


def test_run_lengths_where_training_takes_polygons(register):
    name = register(annotation(segmentation=rle(square())))
    with pytest.raises(InputError, match=r"image 1, .* INPUT\.MASK_FORMAT is 'polygon': set it"):
        training_clips(config(name, name, "INPUT.MASK_FORMAT", "polygon"))
    assert len(training_clips(config(name, name, "INPUT.MASK_FORMAT", "bitmask"))) == 4


TURNED = [{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}]


@pytest.mark.parametrize(
    ("train", "test", "number", "sentence"),
    [
        (coco()["categories"], DOGS, 1, r"'test_b' has the classes \(dog\), and 'test_a' .*person"),
        (BOTH, TURNED, 2, r"\(dog, person\), and 'test_a' has \(person, dog\)"),
        (BOTH, coco()["categories"], 2, "'test_b' has the classes"),
        (BOTH, BOTH, 1, r"NUM_CLASSES is 1, and the data set 'test_a' has 2, \(person, dog\)"),
        (BOTH, BOTH, 3, "NUM_CLASSES is 3, and the data set 'test_a' has 2"),
        (BOTH, BOTH, 80, "NUM_CLASSES is 80, .* set it to 2"),
    ],
)
def test_classes_are_compared_by_name(register, train, test, number, sentence):
    names = [
        register(top(categories=list_), f"test_{letter}")
        for letter, list_ in zip("ab", (train, test), strict=True)
    ]
    cfg = config(*names, "MODEL.ROI_HEADS.NUM_CLASSES", number)
    with pytest.raises(InputError, match=sentence):
        check_classes(cfg)


def test_training_sets_of_other_classes_are_not_mixed(register):
    names = (register(coco(), "test_a"), register(top(categories=DOGS), "test_b"))
    cfg = build_cfg(CONFIG, ["DATASETS.TRAIN", names, "DATASETS.TEST", ()])
    with pytest.raises(InputError, match=r"'test_b' has the classes \(dog\)"):
        check_classes(cfg)


def test_the_same_classes_pass(register):
    names = (register(top(categories=BOTH), "test_a"), register(top(categories=BOTH), "test_b"))
    check_classes(config(*names, "MODEL.ROI_HEADS.NUM_CLASSES", 2))


def test_a_name_that_stands_for_other_classes(write):
    """The names that are registered for davis_person_val are not replaced in silence."""
    with pytest.raises(InputError, match=r"classes dog, and .*'davis_person_val' .* person"):
        load_video_coco_json(write(top(categories=DOGS)), "", "davis_person_val")
