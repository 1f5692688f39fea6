"""Videos of which some frames alone are annotated: files, clips, evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from tests.conftest import CONFIG
from tests.support.datasets import coco
from tests.support.detections import detections
from videogcrf_det import InputError
from videogcrf_det.data import VideoDatasetMapper, load_videos, register_video_coco_instances
from videogcrf_det.data.annotations import clean_annotations
from videogcrf_det.data.clips import load_clips
from videogcrf_det.data.few_labels import label_every
from videogcrf_det.engine import build_cfg
from videogcrf_det.evaluation import VideoCOCOEvaluator


def context_of(content):
    """Ids of the images that are context."""
    cleaned = clean_annotations(content, "some.json")["images"]
    assert {image.get("annotated", True) for image in cleaned} <= {True, False}
    return {image["id"] for image in cleaned if not image.get("annotated", True)}


def only(content, *images):
    """The content with the annotations of some images alone."""
    kept = [a for a in content["annotations"] if a["image_id"] in images]
    return {**content, "annotations": kept}


def marked(content, image, value=False):
    images = [{**i, "annotated": value} if i["id"] == image else i for i in content["images"]]
    return {**content, "images": images}


def test_two_ways_to_say_it():
    assert context_of(coco()) == set()
    assert context_of(marked(only(coco(), 12, 13, 14), 11)) == {11}
    listed = only(coco(), 11, 12, 14)
    listed["videos"] = [{"id": 1, "name": "walk", "annotated_frames": [0]}, listed["videos"][1]]
    assert context_of(listed) == {13}
    assert context_of(marked(only(listed, 14, 12), 11)) == {13, 11}
    listed["videos"][0]["annotated_frames"] = []
    assert context_of(only(listed, 11, 12)) == {13, 14}


def test_youtube_vis_has_lists():
    from videogcrf_det.data.ytvis import ytvis_as_coco

    video = {"id": 3, "file_names": ["a/0.jpg", "a/1.jpg", "a/2.jpg"], "height": 10, "width": 20}
    track = {"id": 1, "video_id": 3, "category_id": 1, "bboxes": [[1, 1, 4, 4], None, [2, 1, 4, 4]]}
    content = {"videos": [{**video, "annotated_frames": [0, 2]}], "annotations": [track]}
    content["categories"] = [{"id": 1, "name": "dog"}]
    as_coco = ytvis_as_coco(content, "some.json")
    assert context_of(as_coco) == {as_coco["images"][1]["id"]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: marked(c, 11), "annotation 11 .* of the image 11, which .* is not annotated"),
        (lambda c: marked(c, 11, "no"), "image 11 .* has annotated 'no': give true, or false"),
        (
            lambda c: {**c, "videos": [{"id": 1, "annotated_frames": [0, 7]}, c["videos"][1]]},
            "annotated_frames of the video 1 .* names the frame 7, which is not in 'images'",
        ),
        (
            lambda c: {**c, "videos": [{"id": 1, "annotated_frames": "0"}, c["videos"][1]]},
            "annotated_frames of the video 1 .* is '0': give the frame_ids",
        ),
    ],
)
def test_what_is_wrong(change, sentence):
    with pytest.raises(InputError, match=sentence):
        clean_annotations(change(coco()), "some.json")


@pytest.fixture
def register(tmp_path):
    """Register content with the images of a folder under a name."""
    names = []

    def register(content, root, name):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        register_video_coco_instances(name, path, root)
        names.append(name)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_clips_have_an_annotated_frame(register, tmp_path):
    content = coco()
    images = [{**image, "video_id": 1, "frame_id": k} for k, image in enumerate(content["images"])]
    content = {**content, "images": images, "videos": []}
    content["images"], content["annotations"] = label_every(images, content["annotations"], 3)
    name = register(content, tmp_path, "videogcrf_few")
    for filter_empty in (True, False):
        frames = [c["frames"][0]["frame_id"] for c in load_clips([name], 1, 1, filter_empty)]
        assert frames == [0, 3]
    clips = load_clips([name], 2)
    shown = [[f.get("annotated", True) for f in clip["frames"]] for clip in clips]
    assert shown == [[True, False], [False, True], [False, True]]


def test_evaluation_leaves_context_out(register, small, mini_data, tmp_path):
    """The metrics are those of a data set that has the annotated frames alone."""
    metadata = MetadataCatalog.get(mini_data["val"])
    content = json.loads(Path(metadata.json_file).read_text())
    content["images"], content["annotations"] = label_every(
        content["images"], content["annotations"], 2
    )
    few = register(content, metadata.image_root, "videogcrf_few_val")
    kept = [image for image in content["images"] if image.get("annotated", True)]
    assert 0 < len(kept) < len(content["images"])
    alone = register({**content, "images": kept}, metadata.image_root, "videogcrf_alone_val")
    mapper = VideoDatasetMapper(build_cfg(CONFIG, small), is_train=False)
    outputs = {}
    rng = np.random.default_rng(0)
    for video in load_videos(mini_data["val"]):
        for record in video["frames"]:
            output = detections(record, rng)
            output["instances"].track_ids = np.arange(len(output["instances"]))
            outputs[record["image_id"]] = output
    results = []
    for name in (few, alone):
        evaluator = VideoCOCOEvaluator(name, output_dir=str(tmp_path / name))
        evaluator.reset()
        for video in map(mapper, load_videos(name)):
            found = [outputs[record["image_id"]] for record in video["records"]]
            evaluator.process([video], [found])
        evaluator.evaluate()
        results.append(json.loads((tmp_path / name / "evaluation.json").read_text()))
    ours, expected = results
    assert 5 < expected["results"]["segm"]["AP"] < 95
    assert ours["results"]["temporal_stability"]["pairs"] == 0, "none of successive frames"
    for result in (ours, expected):
        for part in (result["results"], *result["sequences"].values()):
            part.pop("temporal_stability")
            for task in ("bbox", "segm"):  # neighbours are twice as far away
                for speed in ("slow", "medium", "fast"):
                    part[task].pop(f"AP-{speed}", None)
    assert ours["results"] == expected["results"]
    assert ours["sequences"] == expected["sequences"]
