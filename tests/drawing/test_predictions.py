import json
import sys

import numpy as np
import pycocotools.mask as mask_util
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from videogcrf_det import InputError
from videogcrf_det.data import register_video_coco_instances
from videogcrf_det.drawing import predictions, visualize_predictions
from videogcrf_det.engine import build_cfg
from videogcrf_det.report.model import read_metrics


def rle(x):
    mask = np.zeros((40, 60), np.uint8, order="F")
    mask[10:30, x : x + 12] = 1
    encoded = mask_util.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


@pytest.fixture
def dataset(tmp_path):
    """A registered video of three frames, and the same as COCO results."""
    images, annotations, results = [], [], []
    for index in range(3):
        Image.new("RGB", (60, 40), (90, 120, 90)).save(tmp_path / f"{index}.jpg")
        images.append(
            {"id": index, "file_name": f"{index}.jpg", "height": 40, "width": 60}
            | {"video_id": 1, "frame_id": index}
        )
        shared = {"image_id": index, "category_id": 1, "segmentation": rle(10 + index)}
        annotations.append(
            {"id": index + 1, "area": 240, "bbox": [10, 10, 12, 20], "iscrowd": 0, "track_id": 1}
            | shared
        )
        results.append(shared | {"score": 0.9, "bbox": [10, 10, 12, 20]})
    content = {
        "videos": [{"id": 1, "name": "walk", "length": 3}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "results.json").write_text(json.dumps(results))
    register_video_coco_instances("test_drawn", tmp_path / "annotations.json", tmp_path)
    yield tmp_path, results
    DatasetCatalog.remove("test_drawn")
    MetadataCatalog.remove("test_drawn")


def draw(folder, predictions, **options):
    cfg = build_cfg("", ["DATASETS.TEST", "('test_drawn',)"])
    return visualize_predictions(cfg, folder / "out", predictions=predictions, **options)


def test_pictures_and_videos(dataset):
    folder, _ = dataset
    (files,) = draw(folder, folder / "results.json")
    assert files.video == folder / "out/walk.mp4"
    assert files.video.stat().st_size > 0
    assert [path.name for path in files.frames] == ["00000.png", "00001.png", "00002.png"]
    shown = np.asarray(Image.open(files.frames[0]))
    (files,) = draw(folder, folder / "results.json", confidence_threshold=0.95)
    assert (np.asarray(Image.open(files.frames[0])) != shown).any()  # detections are left out


def test_detections_have_the_colour_of_what_they_detect(dataset, monkeypatch):
    folder, results = dataset
    elsewhere = [{**result, "segmentation": rle(40), "score": 0.95} for result in results]
    (folder / "results.json").write_text(json.dumps(elsewhere + results))
    colours = []
    draw_instances = predictions.draw_instances

    def spy(image, masks, indices, **options):
        colours.append(list(indices))
        return draw_instances(image, masks, indices, **options)

    monkeypatch.setattr(predictions, "draw_instances", spy)
    draw(folder, folder / "results.json")
    assert colours == [[0], [1, 0]] * 3  # of the annotations and the detections of each frame


def test_classes_are_named_where_there_are_several(dataset, monkeypatch):
    folder, _ = dataset
    labels = []
    draw_instances = predictions.draw_instances

    def spy(*args, **options):
        labels.append(options.get("labels"))
        return draw_instances(*args, **options)

    monkeypatch.setattr(predictions, "draw_instances", spy)
    draw(folder, folder / "results.json")
    assert labels[1] == ["90%"]
    labels.clear()
    videos = predictions.videos_from_file("test_drawn", folder / "results.json", 0.5)
    predictions.write_videos(videos, ["person", "bike"], folder / "named", fps=10)
    assert labels[1] == ["person 90%"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: "no list", "holds a JSON str, not a list"),
        (lambda r: [1], "is 1, not a COCO result"),
        (lambda r: [{**r[0], "image_id": 77}], "image_id 77, which the data set does not have"),
        (lambda r: [{**r[0], "category_id": 5}], "category_id 5"),
        (lambda r: [{**r[0], "segmentation": {"size": [4, 6], "counts": ""}}], r"\[40, 60\]"),
        (lambda r: [{"image_id": 0}], "has no 'category_id'"),
    ],
)
def test_files_that_are_no_predictions(dataset, spoil, message):
    folder, results = dataset
    path = folder / "bad.json"
    path.write_text(json.dumps(spoil(results)))
    with pytest.raises(InputError, match=message):
        draw(folder, path)
    path.write_text("{")
    with pytest.raises(InputError, match=f"{path} cannot be read as JSON"):
        draw(folder, path)
    with pytest.raises(InputError, match="does not exist"):
        draw(folder, folder / "missing.json")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("options", [{"confidence_threshold": 1.5}, {"fps": 0}, {"max_videos": 0}])
def test_bad_options(dataset, options):
    folder, _ = dataset
    (name, value) = next(iter(options.items()))
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} .*got {value}"):
        draw(folder, folder / "results.json", **options)


def test_without_av(dataset, monkeypatch):
    folder, _ = dataset
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'videogcrf-det\[video\]'"):
        draw(folder, folder / "results.json")


def test_the_later_run_of_a_log_counts(tmp_path):
    log = tmp_path / "metrics.json"
    rows = [{"iteration": i, "run": 1} for i in (0, 20, 40)] + [{"iteration": 20, "run": 2}]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(row["iteration"], row["run"]) for row in read_metrics(log)] == [(0, 1), (20, 2)]
    log.write_text("not json\n")
    with pytest.raises(InputError, match="line 1"):
        read_metrics(log)
    with pytest.raises(InputError, match="train first"):
        read_metrics(tmp_path / "missing.json")
