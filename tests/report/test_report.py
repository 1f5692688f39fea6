"""The report page, as files and as a browser shows it."""

import json
import re
import shutil

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from tests.conftest import unregister
from tests.support.chromium import Browser, needs_chromium
from videogcrf_det import InputError
from videogcrf_det.data import register_video_coco_instances
from videogcrf_det.report import write_report

DATASET = "test_report"
FRAMES = 12
VIDEOS = ("walk", "run & jump")
METRICS = {"AP": 41.26, "AP50": 88.0, "AP75": None, "APs": None, "APm": 40.0, "APl": 44.0}


def rle(x, shape=(40, 60)):
    mask = np.zeros(shape, np.uint8, order="F")
    mask[10:30, x : x + 12] = 1
    encoded = mask_util.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A registered data set: a person moves in two videos, one of them upright, and a still."""
    root = tmp_path_factory.mktemp("data")
    images, annotations = [], []
    for index in range(2 * FRAMES + 1):
        height, width = (40, 60) if index < FRAMES else (60, 40)
        Image.new("RGB", (width, height), (90, 120, 90)).save(root / f"{index}.jpg")
        image = {"id": index, "file_name": f"{index}.jpg", "height": height, "width": width}
        if index < 2 * FRAMES:
            image |= {"video_id": index // FRAMES, "frame_id": index % FRAMES}
        images.append(image)
        annotations.append(
            {"id": index + 1, "image_id": index, "category_id": 1, "area": 240, "iscrowd": 0}
            | {"bbox": [10, 10, 12, 20], "track_id": 1}
            | {"segmentation": rle(10 + index % 9, (height, width))}
        )
    content = {
        "videos": [{"id": index, "name": name} for index, name in enumerate(VIDEOS)],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    register_video_coco_instances(DATASET, root / "annotations.json", root)
    yield root
    unregister(DATASET)


def make_run(folder, missed=(), ap=41.26, backbone="build_video_gcrf_backbone"):
    """An OUTPUT_DIR whose detections are right but in the frames that it misses."""
    inference = folder / "inference" / DATASET
    inference.mkdir(parents=True)
    detections = [
        {"image_id": i, "category_id": 1, "score": 0.9}
        | {"segmentation": rle(10 + i % 9, (40, 60) if i < FRAMES else (60, 40))}
        for i in range(2 * FRAMES)
        if i not in missed
    ]
    (inference / "coco_instances_results.json").write_text(json.dumps(detections))
    metrics = {**METRICS, "AP": ap, "ignored": 3}
    metrics |= {"AP-slow": ap + 5, "AP-medium": 35.5, "AP-fast": None}
    stability = {"predictions": 71.2, "ground_truth": 84.9, "pairs": 2 * FRAMES - 2}
    sequence = {"frames": FRAMES, "instances": FRAMES, "segm": {"AP": ap}, "bbox": {"AP": 1.0}}
    content = {
        "dataset": DATASET,
        "results": {
            **{"segm": metrics, "bbox": metrics, "temporal_stability": stability},
            "ytvis": {"AP": ap - 10, "AP50": 70.0, "AP75": 20.0, "AR1": 11.0, "AR10": 44.0},
            "tracking": {"HOTA": 61.0, "DetA": 60.0, "AssA": 62.0, "IDF1": None, "MOTA": 50.0}
            | {"switches": len(missed)},
        },
        "sequences": {name: {**sequence, "temporal_stability": stability} for name in VIDEOS},
        "versions": {"PyTorch": "9.9.9"},
    }
    (inference / "evaluation.json").write_text(json.dumps(content))
    rows = [{"iteration": i, "total_loss": 2.0 - i / 100, "lr": 0.01} for i in range(0, 99, 20)]
    (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = f"MODEL:\n  BACKBONE: {{NAME: {backbone}}}\n  SAME: <value>\nOUTPUT_DIR: {folder}\n"
    (folder / "config.yaml").write_text(config)
    return folder


def evaluation_of(run):
    return run / "inference" / DATASET / "evaluation.json"


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    """A page with everything."""
    root = tmp_path_factory.mktemp("page")
    run = make_run(root / "crf", missed=[16])
    baseline = make_run(root / "base", missed=[3, 4, 17], ap=38.0, backbone="build_resnet_backbone")
    return write_report(root / "page", run, baseline, title="A <title>", facts={"time": "3 min"})


@pytest.fixture(scope="module")
def lone_page(data, tmp_path_factory):
    """A page of one run."""
    root = tmp_path_factory.mktemp("lone")
    return write_report(root / "page", make_run(root / "run"))


def text_of(page):
    """What is to be read on a page, without its drawings, with plain dashes."""
    drawn = re.sub(r"<(svg|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)
    text = " ".join(re.sub(r"<[^>]+>", " ", drawn).split())
    return text.replace("\N{EN DASH}", "-").replace("\N{MINUS SIGN}", "-")


def test_what_is_on_it(page):
    text = text_of(page)
    for shown in (
        *("A &lt;title&gt;", "3 min", "AP75", "88.0", "run &amp; jump", "Total loss"),
        "VideoGCRF 41.3 88.0 - - 40.0 44.0 Baseline 38.0 88.0 - - 40.0 44.0",
        "Difference +3.3 0.0 - - 0.0 0.0",
        "41.3 AP of masks, mean over IoU 0.50 to 0.95 +3.3 against the baseline",
        "VideoGCRF: 3 masks and 3 boxes lie on do-not-care regions",
        "Ground truth 84.9",
        *("overlaps its mask there by so much", "the mean over 22 pairs of sightings"),
        "slow medium fast Masks VideoGCRF 46.3 35.5 - Baseline 43.0 35.5 - Difference +3.3 0.0 -",
        "VideoGCRF 31.3 70.0 20.0 11.0 44.0 61.0 60.0 62.0 - 50.0 1 Baseline 28.0 70.0",
        "Difference +3.3 0.0 0.0 0.0 0.0 0.0 0.0 0.0 - 0.0 -2",
        "31.3 Track AP of masks through whole videos +3.3 against the baseline",
        "walk 41.3 38.0 +3.3 71.2 71.2 84.9 12 12",
        "MODEL.BACKBONE.NAME build_video_gcrf_backbone build_resnet_backbone",
        *("SAME: &lt;value&gt;", "PyTorch 9.9.9 9.9.9"),
    ):
        assert shown in text, shown
    for absent in ("MODEL.SAME", "OUTPUT_DIR /", "None", "nan"):
        assert absent not in text.partition("Everything of")[0], absent


def test_fewer_switches_are_better(page):
    assert '<span class="better">\N{MINUS SIGN}2</span>' in page.read_text()


def test_tracks_over_time(page):
    """The masks of a video jump back once by more than they can be followed. The baseline misses
    two frames of the first video, and another where the run misses one of the second."""
    text = text_of(page).partition("Videos A detection")[2]
    lanes = re.findall(r"person 1 (found in .*?) Annotated instances", text)
    assert lanes == [
        "found in 12 of 12 frames, 1 switch found in 10 of 12 frames, 1 gap, 1 switch",
        "found in 11 of 12 frames, 1 gap, 1 switch found in 11 of 12 frames, 1 gap, 1 switch",
    ]
    drawn = re.findall(
        r'<rect class="(\w+)" x="(\d+)"(?: y="\d+")? width="(\d+)"', page.read_text()
    )
    assert drawn[:4] == [
        *[("truth", "0", "12"), ("run", "0", "12"), ("baseline", "0", "3"), ("baseline", "5", "7")]
    ]


def test_how_to_repeat_it(page):
    again = re.findall(r"<pre><code>(.*videogcrf .*)</code></pre>", page.read_text())
    root = page.parent.parent
    assert [line[line.index("videogcrf ") :] for line in again] == [
        f"videogcrf train --config-file {root}/crf/config.yaml OUTPUT_DIR {root}/crf-again",
        f"videogcrf train --config-file {root}/base/config.yaml OUTPUT_DIR {root}/base-again",
        f"videogcrf report --output {root}/page-again --run {root}/crf-again "
        f"--baseline {root}/base-again --dataset {DATASET}",
    ]


def test_it_stands_by_itself(page):
    text = page.read_text()
    links = re.findall(r'(?:src|href|poster)="([^"#]+)(?:#t=[\d.]+)?"', text)
    assert {"videos/walk.mp4", "videos/run___jump.mp4", "videos/walk.jpg"} <= set(links)
    for link in links:
        assert (page.parent / link).is_file(), link
    assert "http" not in text


def test_frames_that_differ(page):
    """The run misses one frame, the baseline three, two of them neighbours: one of these is shown.

    Scores are 100 where the person is found and 0 where it is not.
    """
    better, worse = text_of(page).partition("VideoGCRF is better")[2].split("VideoGCRF is worse")
    shown = r"(walk|run &amp; jump) frame (\d+) VideoGCRF ([\d.]+) Baseline ([\d.]+) (\S+)"
    assert re.findall(shown, better) == [
        ("walk", "3", "100.0", "0.0", "+100.0"),
        ("run &amp; jump", "5", "100.0", "0.0", "+100.0"),
    ]
    assert re.findall(shown, worse) == [("run &amp; jump", "4", "0.0", "100.0", "-100.0")]
    assert "Input Ground truth Baseline VideoGCRF" in better
    baseline, run = (page.parent / f"frames/walk-00003-{i}.jpg" for i in (2, 3))
    colours = [
        np.ptp(np.asarray(Image.open(path)).astype(int), axis=(0, 1)) for path in (baseline, run)
    ]
    assert max(colours[0]) < 20 < max(colours[1])  # one is empty, a person is drawn in the other


def test_one_run_alone_that_was_not_trained(data, tmp_path):
    run = make_run(tmp_path / "evaluated", backbone="build_resnet_backbone")
    (run / "metrics.json").unlink()
    page = write_report(tmp_path / "page", run)
    text = text_of(page)
    for absent in ("aseline", "Difference", "Change", "differ most", "Total loss", "What differs"):
        assert absent not in text, absent
    assert f"Model on {DATASET}" in text
    assert "Masks 41.3 88.0" in text
    assert "videogcrf train --config-file" in text
    assert "--eval-only" in text


def test_an_evaluation_without_metrics(data, tmp_path):
    run, baseline = make_run(tmp_path / "run"), make_run(tmp_path / "base")
    for folder in (run, baseline):
        evaluation_of(folder).unlink()
        (folder / "config.yaml").unlink()
    text = text_of(write_report(tmp_path / "page", run, baseline))
    assert f"no metrics of Baseline, for want of {evaluation_of(baseline)}" in text
    assert f"--eval-only --resume OUTPUT_DIR {run}" in text
    assert "Average precision" not in text
    assert "Where they differ most" in text


def test_undefined_metrics_are_dashes(data, tmp_path):
    run = make_run(tmp_path / "run")
    content = json.loads(evaluation_of(run).read_text())
    content["results"]["segm"] = {**dict.fromkeys(METRICS), "AP50": float("nan"), "ignored": None}
    content["results"]["temporal_stability"] = {"predictions": None, "ground_truth": None}
    del content["results"]["bbox"]
    content["sequences"]["walk"] |= {"segm": {"AP": None}, "temporal_stability": {}}
    evaluation_of(run).write_text(json.dumps(content))
    text = text_of(write_report(tmp_path / "page", run))
    assert "Masks - - - - - -" in text
    assert "walk - 12 12" in text
    for absent in ("None", "nan", "Temporal stability", "Boxes -"):
        assert absent not in text.partition("Videos")[0], absent


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: shutil.rmtree(run), r"is no folder: name the OUTPUT_DIR"),
        (lambda run: shutil.rmtree(run / "inference"), r"has no inference/<data set>/coco.*evalua"),
        (lambda run: evaluation_of(run).write_text("{"), r"evaluation\.json is not what .*again"),
        (lambda run: evaluation_of(run).write_text("[]"), r"evaluation\.json is not what"),
        (
            lambda run: evaluation_of(run).write_text('{"results": {"segm": {"AP": "x"}}}'),
            r"evaluation\.json is not what",
        ),
        (lambda run: (run / "metrics.json").write_text("x"), r"line 1 of the training log"),
        (
            lambda run: shutil.copytree(run / "inference" / DATASET, run / "inference" / "other"),
            f"several data sets: name one of other, {DATASET}",
        ),
    ],
)
def test_folders_that_are_no_runs(data, tmp_path, spoil, sentence):
    run = make_run(tmp_path / "run")
    spoil(run)
    with pytest.raises(InputError, match=sentence):
        write_report(tmp_path / "page", run)
    assert not (tmp_path / "page").exists()


def test_a_baseline_of_another_data_set(data, tmp_path):
    run, baseline = make_run(tmp_path / "run"), make_run(tmp_path / "base")
    (baseline / "inference" / DATASET).rename(baseline / "inference" / "other")
    with pytest.raises(InputError, match=rf"base/inference/{DATASET}/\S+ does not exist: evaluate"):
        write_report(tmp_path / "page", run, baseline)


def test_an_unreadable_frame_leaves_the_earlier_page(data, tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    before = write_report(tmp_path / "page", run).read_bytes()
    broken = data / "20.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    try:
        with pytest.raises(InputError, match=r"cannot read the frame \S+20\.jpg"):
            write_report(tmp_path / "page", run, title="another")
    finally:
        broken.write_bytes(whole)
    assert (tmp_path / "page" / "index.html").read_bytes() == before
    assert not [path for path in (tmp_path / "page").rglob(".*")]


LOADED = """
Promise.all([
  ...[...document.images].map(async image => {
    image.loading = 'eager';
    await image.decode();
    return image.naturalWidth > 0;
  }),
  ...[...document.querySelectorAll('video')].map(async video => {
    const poster = new Image();
    poster.src = video.poster;
    await poster.decode();
    video.loop = false;
    video.playbackRate = 8;
    const ended = new Promise(done => video.addEventListener('ended', done));
    await video.play();
    await ended;
    return video.readyState >= 2 && video.videoWidth == video.width;
  }),
])
"""
WIDE = """
[...document.querySelectorAll('main *')].filter(element =>
  element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5
  && !element.parentElement.closest('.sheet, .player, pre, svg')
).map(element => element.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("name", "pictures"), [("page", 3 * 4), ("lone_page", 0)])
def test_in_a_browser(request, browser, name, pictures, width, scheme):
    """All loads and plays to its end, nothing is wider than the page, text is not on its like."""
    browser.errors.clear()
    browser.open(request.getfixturevalue(name), width=width, scheme=scheme)
    leading = bool(pictures)  # one of the videos is shown at the head as well
    assert browser.run(LOADED) == [True] * (pictures + leading + len(VIDEOS))
    assert browser.run("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    assert browser.run(WIDE) == []
    assert browser.errors == []
    style = "getComputedStyle(document.body)"
    ink, paper = (
        sum(map(int, re.findall(r"\d+", browser.run(f"{style}.{name}"))[:3]))
        for name in ("color", "backgroundColor")
    )
    assert ink - paper > 450 if scheme == "dark" else paper - ink > 450


@pytest.mark.slow
@needs_chromium
def test_the_browser_notices_what_is_wrong(browser, tmp_path):
    """What the test above relies on: a page that fails each of its checks."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<meta name="viewport" content="width=device-width"><main>'
        '<img src="gone.jpg"><p style="width: 900px">x</p></main><script>oops()</script>'
    )
    browser.errors.clear()
    browser.open(page, width=390)
    assert browser.run("document.documentElement.scrollWidth") > 390
    assert len(browser.run(WIDE)) == 1
    with pytest.raises(AssertionError, match="EncodingError"):
        browser.run(LOADED)
    assert len(browser.errors) == 2
