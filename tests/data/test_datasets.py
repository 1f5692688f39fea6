import importlib
import json
import os
import subprocess
import sys

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from tests.support.datasets import coco
from videogcrf_det import InputError
from videogcrf_det.data import datasets, load_video_coco_json, register_video_coco_instances
from videogcrf_det.data.classes import check_classes
from videogcrf_det.demo import confident_cfg
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import build_cfg


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "some.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def name():
    yield "videogcrf_test_dataset"
    for catalog in (DatasetCatalog, MetadataCatalog):
        if "videogcrf_test_dataset" in catalog.list():
            catalog.remove("videogcrf_test_dataset")


def test_frames_are_sorted_and_know_their_video(write):
    records = load_video_coco_json(write(coco()), "root")
    keys = ["image_id", "video_id", "frame_id", "video_name"]
    assert [[record[key] for key in keys] for record in records] == [
        [14, 1, 0, "walk"],
        [13, 1, 1, "walk"],
        [12, 2, 0, "run"],
        [11, 2, 1, "run"],
    ]
    assert records[0]["file_name"] == os.path.join("root", "480p/1/0.jpg")
    assert (records[0]["height"], records[0]["width"]) == (10, 20)
    (annotation,) = records[0]["annotations"]
    assert annotation["track_id"] == 5
    assert annotation["segmentation"] == [[1, 2, 4, 2, 4, 6, 1, 6]]


def test_a_data_set_name_sets_metadata_and_contiguous_categories(write, name):
    json_file = write(coco())
    register_video_coco_instances(name, json_file, "root")
    records = DatasetCatalog.get(name)
    assert {a["category_id"] for r in records for a in r["annotations"]} == {1}
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["dog", "person"]
    assert metadata.thing_dataset_id_to_contiguous_id == {3: 0, 7: 1}
    assert metadata.evaluator_type == "coco"
    assert (metadata.json_file, metadata.image_root) == (str(json_file), "root")


def test_still_images_keep_their_order_and_get_no_video_keys(write):
    content = coco()
    content["images"] = [
        {key: value for key, value in image.items() if key not in ("video_id", "frame_id")}
        for image in content["images"]
    ]
    del content["videos"]
    records = load_video_coco_json(write(content), "root")
    assert [record["image_id"] for record in records] == [11, 12, 13, 14]
    assert not {"video_id", "frame_id", "video_name"} & set().union(*records)


def test_a_video_without_a_name_is_called_by_its_id(write):
    records = load_video_coco_json(write(coco(videos=[])), "root")
    assert [record["video_name"] for record in records] == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ([], "has no images"),
        ({}, "has no images"),
        (coco(images=[], annotations=[]), "has no images"),
        (coco(categories=[]), "has no categories"),
        (coco(annotations=coco()["annotations"] * 2), "not unique"),
        (coco(images=[{"id": 1}]), "the image 1 .* has the file_name None"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(write, content, sentence):
    path = write(content)
    with pytest.raises(InputError, match=sentence) as error:
        load_video_coco_json(path, "root")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ({"frame_id": None}, "the image 11 .* frame_id None: give whole numbers"),
        ({"video_id": "a"}, "the image 11 .* video_id 'a' and frame_id 1: give whole numbers"),
        ({"frame_id": 0}, "the images 11 and 12 .* both frame 0 of video 2"),
    ],
)
def test_bad_video_keys(write, image, sentence):
    content = coco()
    content["images"][0].update(image)
    with pytest.raises(InputError, match=sentence):
        load_video_coco_json(write(content), "root")


def test_a_missing_file_is_told_when_the_data_set_is_used(tmp_path, name):
    register_video_coco_instances(name, tmp_path / "absent.json", tmp_path)
    with pytest.raises(InputError, match=r"absent\.json does not exist: .*prepare-davis-person"):
        DatasetCatalog.get(name)


def test_registering_twice(name):
    register_video_coco_instances(name, "a.json", "root")
    register_video_coco_instances(name, "a.json", "root")
    with pytest.raises(InputError, match=r"registered already, with a\.json"):
        register_video_coco_instances(name, "b.json", "root")
    assert MetadataCatalog.get(name).json_file == "a.json"


@pytest.mark.parametrize("prefix", ["davis_person", "mini_davis_person"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_davis_person_is_registered(prefix, split):
    importlib.reload(datasets)  # a second import does no harm
    metadata = MetadataCatalog.get(f"{prefix}_{split}")
    folder = prefix.removesuffix("_person").replace("davis", "DAVIS", prefix == "davis_person")
    assert metadata.json_file.endswith(f"{folder}/annotations/{prefix}_{split}.json")
    assert metadata.image_root.endswith(f"{folder}/JPEGImages")
    assert metadata.thing_classes == ["person"]


@pytest.mark.slow
def test_the_root_comes_from_the_environment(tmp_path):
    code = (
        "import videogcrf_det.data; from detectron2.data import MetadataCatalog as M;"
        "print(M.get('davis_person_val').json_file)"
    )
    env = {**os.environ, "DETECTRON2_DATASETS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "DAVIS/annotations/davis_person_val.json")


def test_a_video_without_frames(write):
    videos = [*coco()["videos"], {"id": 3, "name": "still to come", "length": 0}]
    with pytest.raises(InputError, match=r"'still to come' in .*some\.json has no frames"):
        load_video_coco_json(write(coco(videos=videos)), "")


def test_a_single_stage_detector_has_its_classes_in_another_key(tmp_path):
    """Their number follows from the data, and a wrong one is told by its name."""
    content = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "dog"}]}
    (tmp_path / "dogs.json").write_text(json.dumps(content))
    opts = ["DATASETS.OWN", [f"dogs={tmp_path / 'dogs.json'}:{tmp_path}"]]
    opts += ["DATASETS.TRAIN", ("dogs",), "DATASETS.TEST", ("dogs",)]
    try:
        cfg = build_cfg("COCO-Detection/retinanet_R_50_FPN_1x.yaml", opts)
        assert (cfg.MODEL.RETINANET.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES) == (1, 80)
        check_classes(cfg)
        assert confident_cfg(cfg, 0.25, 0).MODEL.RETINANET.SCORE_THRESH_TEST == 0.25
        with pytest.raises(InputError, match=r"RETINANET.NUM_CLASSES is 2, .* set it to 1"):
            check_classes(changed_cfg(cfg, "MODEL.RETINANET.NUM_CLASSES", 2))
    finally:
        DatasetCatalog.remove("dogs")
        MetadataCatalog.remove("dogs")
