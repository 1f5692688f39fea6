"""The report page, as files and as a browser shows it."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from tests.conftest import unregister
from videogcrf_det import InputError
from videogcrf_det.data import register_video_coco_instances
from videogcrf_det.visualization import write_report
from videogcrf_det.visualization.compare import Difference, DifferenceCollector, frame_score
from videogcrf_det.visualization.predictions import Annotated, Detections
from videogcrf_det.visualization.runs import differing_keys

DATASET = "test_report"
FRAMES = 12
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "google-chrome", "chrome"])), None)
FIGURES = {"AP": 41.26, "AP50": 88.0, "AP75": None, "APs": None, "APm": 40.0, "APl": 44.0}


def box(x, y=10, width=12, height=20):
    mask = np.zeros((40, 60), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def rle(mask):
    encoded = mask_util.encode(np.asfortranarray(mask, np.uint8))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A registered data set of two videos, in which a person moves."""
    root = tmp_path_factory.mktemp("data")
    images, annotations = [], []
    for index in range(2 * FRAMES):
        Image.new("RGB", (60, 40), (90, 120, 90)).save(root / f"{index}.jpg")
        images.append(
            {"id": index, "file_name": f"{index}.jpg", "height": 40, "width": 60}
            | {"video_id": index // FRAMES, "frame_id": index}
        )
        annotations.append(
            {"id": index + 1, "image_id": index, "category_id": 1, "area": 240, "iscrowd": 0}
            | {"bbox": [10, 10, 12, 20], "segmentation": rle(box(10 + index % 9)), "track_id": 1}
        )
    content = {
        "videos": [{"id": 0, "name": "walk"}, {"id": 1, "name": "run & jump"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    register_video_coco_instances(DATASET, root / "annotations.json", root)
    yield root
    unregister(DATASET)


def make_run(folder, missed=(), ap=41.26, trained=True):
    """An OUTPUT_DIR whose detections are right but in the frames that it misses."""
    inference = folder / "inference" / DATASET
    inference.mkdir(parents=True)
    detections = [
        {"image_id": i, "category_id": 1, "score": 0.9, "segmentation": rle(box(10 + i % 9))}
        for i in range(2 * FRAMES)
        if i not in missed
    ]
    (inference / "coco_instances_results.json").write_text(json.dumps(detections))
    figures = {**FIGURES, "AP": ap, "ignored": 3}
    stability = {"predictions": 71.2, "ground_truth": 84.9}
    sequence = {"frames": FRAMES, "instances": FRAMES, "segm": {"AP": ap}, "bbox": {"AP": 1.0}}
    content = {
        "dataset": DATASET,
        "results": {"segm": figures, "bbox": figures, "temporal_stability": stability},
        "sequences": {
            name: {**sequence, "temporal_stability": stability} for name in ("walk", "run & jump")
        },
        "versions": {"PyTorch": "9.9.9"},
    }
    (inference / "evaluation.json").write_text(json.dumps(content))
    if trained:
        rows = [{"iteration": i, "total_loss": 2.0 - i / 100, "lr": 0.01} for i in range(0, 99, 20)]
        (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "config.yaml").write_text(f"MODEL:\n  AP: {ap}\n  SAME: <value>\n")
    return folder


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    """A page with everything."""
    root = tmp_path_factory.mktemp("page")
    run, baseline = make_run(root / "crf"), make_run(root / "base", missed=[3, 4, 17], ap=38.0)
    return write_report(root / "page", run, baseline, title="A <title>", facts={"time": "3 min"})


def test_what_is_on_it(page):
    text = page.read_text()
    for shown in ("A &lt;title&gt;", "41.3", "88.0", "+3.3", "71.2", "84.9", "run &amp; jump"):
        assert shown in text, shown
    for shown in ("SAME: &lt;value&gt;", "MODEL.AP", "PyTorch", "9.9.9", "3 min", "Total loss"):
        assert shown in text, shown
    assert "MODEL.SAME" not in text  # only keys that differ
    assert "nan" not in re.sub(r"<svg.*?</svg>|base64,[^\"]*", "", text, flags=re.S)


def test_it_stands_by_itself(page):
    text = page.read_text()
    links = re.findall(r'(?:src|href|poster)="([^"#]+)"', text)
    files = [link for link in links if not link.startswith("data:")]
    assert sorted(files) == ["videos/run___jump.mp4", "videos/walk.mp4"]
    assert all((page.parent / link).is_file() for link in files)
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)


def test_frames_that_differ(page):
    """The baseline misses 3, 4 and 17: of neighbours one is shown, nothing where it is better."""
    text = page.read_text()
    shown = re.findall(
        r"<strong>([^<]+)</strong>, frame (\d+): VideoGCRF (\d+), baseline (\d+)", text
    )
    assert sorted(shown) == [("run &amp; jump", "5", "100", "0"), ("walk", "3", "100", "0")]
    assert "VideoGCRF is better" in text
    assert "Baseline is better" not in text


def test_without_a_baseline_and_without_training(data, tmp_path):
    run = make_run(tmp_path / "evaluated", trained=False)
    text = write_report(tmp_path / "page", run).read_text()
    for absent in ("Baseline", "Where they differ", "<h2>Training", "Configuration of"):
        assert absent not in text, absent
    assert "41.3" in text
    assert "tools/report.py --run" in text


def test_undefined_figures_are_dashes(data, tmp_path):
    run = make_run(tmp_path / "run")
    path = run / "inference" / DATASET / "evaluation.json"
    content = json.loads(path.read_text())
    undefined = dict.fromkeys(FIGURES)
    content["results"]["segm"] = {**undefined, "ignored": None}
    content["results"]["temporal_stability"] = {"predictions": None, "ground_truth": None}
    content["sequences"]["walk"]["segm"] = {"AP": None}
    path.write_text(json.dumps(content))
    text = write_report(tmp_path / "page", run).read_text()
    assert "None" not in text
    assert "Temporal stability" not in text
    assert "&ndash;" in text


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.unlink(), r"has no inference/<data set>/evaluation\.json: evaluate"),
        (lambda path: path.write_text("{"), r"cannot read .*evaluation\.json \(JSONDecodeError"),
        (lambda path: path.write_text("[]"), r"cannot read .*evaluation\.json"),
        (
            lambda path: (path.parent / "coco_instances_results.json").unlink(),
            r"has no coco_instances_results\.json: evaluate the run",
        ),
    ],
)
def test_folders_that_are_no_runs(data, tmp_path, spoil, sentence):
    run = make_run(tmp_path / "run")
    spoil(run / "inference" / DATASET / "evaluation.json")
    with pytest.raises(InputError, match=sentence):
        write_report(tmp_path / "page", run)
    assert not (tmp_path / "page").exists()


def test_several_data_sets(data, tmp_path):
    run = make_run(tmp_path / "run")
    shutil.copytree(run / "inference" / DATASET, run / "inference" / "other")
    with pytest.raises(InputError, match=f"several data sets: name one of other, {DATASET}"):
        write_report(tmp_path / "page", run)
    assert write_report(tmp_path / "page", run, dataset=DATASET).is_file()


def detections(*masks):
    return Detections(np.array(masks).reshape(-1, 40, 60), np.ones(len(masks)), np.zeros(1, int))


def annotated(masks, crowd=()):
    every = np.array([*masks, *crowd]).reshape(-1, 40, 60)
    flags = [False] * len(masks) + [True] * len(crowd)
    return Annotated(every, [0] * len(every), flags)


def test_frame_scores_by_hand():
    person, half = box(10), box(10, height=10)
    assert frame_score(detections(person), annotated([person])) == 1
    assert frame_score(detections(half), annotated([person])) == 0.5
    assert frame_score(detections(person, box(40)), annotated([person])) == 0.5
    assert frame_score(detections(person), annotated([person, box(40)])) == 0.5
    assert frame_score(detections(), annotated([person])) == 0
    assert frame_score(detections(person), annotated([])) == 0
    assert frame_score(detections(), annotated([])) is None
    # on a do-not-care region, wholly and by exactly a half
    assert frame_score(detections(person, box(40)), annotated([person], [box(40)])) == 1
    assert frame_score(detections(person, box(40)), annotated([person], [box(46)])) == 0.5
    assert frame_score(detections(box(40)), annotated([], [box(40)])) is None


def test_differences_are_spread():
    collector = DifferenceCollector()
    for video in ("a", "b"):
        for frame in range(100):
            run = 0.5 + (frame if video == "a" else frame / 2) / 250
            if collector.wants(video, frame, run, 0.5):
                collector.add(Difference(video, frame, run, 0.5, b""))
    gains, losses = collector.greatest(3)
    assert losses == []
    assert [(d.video, d.frame) for d in gains] == [("a", 99), ("a", 89), ("b", 99)]


def test_keys_that_differ():
    one, other = "A:\n  B: 1\n  C: x\nD: [1, 2]\n", "A:\n  B: 2\n  C: x\nD: [1, 2]\nE: true\n"
    assert differing_keys(one, other) == [("A.B", "1", "2"), ("E", "", "True")]


CHECK = """
<script>
const found = {errors: [], videos: []};
addEventListener('error', e => found.errors.push(String(e.message || e.target.outerHTML)), true);
console.error = (...words) => found.errors.push(words.join(' '));
addEventListener('load', async () => {
  for (const video of document.querySelectorAll('video')) {
    video.loop = false;
    await new Promise(done => {
      video.addEventListener('ended', done);
      video.addEventListener('error', done);
      video.playbackRate = 8;
      video.play().catch(error => { found.errors.push(String(error)); done(); });
    });
    found.videos.push([video.videoWidth > 0, video.ended]);
  }
  found.images = [...document.images].map(image => image.naturalWidth > 0);
  const root = document.documentElement;
  found.overflow = root.scrollWidth - root.clientWidth;
  found.width = innerWidth;
  found.dark = matchMedia('(prefers-color-scheme: dark)').matches;
  found.background = getComputedStyle(document.body).backgroundColor;
  fetch('/found', {method: 'POST', body: JSON.stringify(found)});
});
</script>
"""


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, and takes what the page in it has found out about itself."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.found.put(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def browse(page, tmp_path):
    """What the page finds out about itself in a browser of some width and colour scheme."""
    shutil.copytree(page.parent, tmp_path / "site")
    checked = page.read_text().replace("<head>", f"<head>{CHECK}")
    (tmp_path / "site" / "checked.html").write_text(checked)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "site"))
    server.found = queue.Queue()
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def browse(width, dark):
        # a browser's window is not made as narrow as a phone's, a frame in it is
        frame = f'<iframe src="checked.html" style="width: {width}px; height: 900px"></iframe>'
        (tmp_path / "site" / "frame.html").write_text(frame)
        words = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1500,1000"),
            *("--autoplay-policy=no-user-gesture-required", f"--user-data-dir={tmp_path / 'user'}"),
            *(f"--blink-settings=preferredColorScheme={0 if dark else 1}",),
            *("--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/frame.html"),
        ]
        with subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as browser:
            try:
                return server.found.get(timeout=60)
            finally:
                os.killpg(browser.pid, signal.SIGKILL)

    yield browse
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium at hand")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_in_a_browser(browse, width, dark):
    """Everything loads and plays to its end, and nothing is wider than the page."""
    found = browse(width, dark)
    assert found["errors"] == []
    assert found["images"] == [True, True]
    assert found["videos"] == [[True, True]] * 2
    assert (found["width"], found["overflow"]) == (width, 0)
    assert found["dark"] == dark
    lightness = sum(map(int, re.findall(r"\d+", found["background"])[:3]))
    assert lightness < 100 if dark else lightness > 700
