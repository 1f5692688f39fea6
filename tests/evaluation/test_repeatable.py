"""The same metrics twice on one machine, and with one process or several."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model

from tests.conftest import CONFIG
from tests.support.detections import detections
from videogcrf_det.data import load_videos, register_video_coco_instances
from videogcrf_det.engine import build_cfg, run
from videogcrf_det.evaluation import VideoCOCOEvaluator

FILES = ("evaluation.json", "coco_instances_results.json")


def test_a_checkpoint_is_evaluated_twice(small, mini_data, tmp_path):
    weights = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save({"model": build_model(build_cfg(CONFIG, small)).state_dict()}, weights)
    results, files = [], []
    for name in ("first", "second"):
        opts = ["MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(tmp_path / name)]
        opts += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]  # an untrained one is sure of nothing
        results.append(json.dumps(run(build_cfg(CONFIG, [*small, *opts]), eval_only=True)))
        folder = tmp_path / name / "inference" / mini_data["val"]
        files.append([(folder / file).read_text() for file in FILES])
    assert results[0] == results[1]
    assert files[0] == files[1]
    assert json.loads(files[0][1]), "nothing was detected: the comparison is empty"


def evaluate(rank, world_size, port, name, json_file, image_root, folder):
    """Evaluate as one of several processes, each of which has a part of the videos."""
    if world_size > 1:
        address = f"tcp://127.0.0.1:{port}"
        torch.distributed.init_process_group("gloo", address, rank=rank, world_size=world_size)
    register_video_coco_instances(name, json_file, image_root)
    evaluator = VideoCOCOEvaluator(name, ("bbox", "segm"), output_dir=folder)
    evaluator.reset()
    for video in np.array_split(load_videos(name), world_size)[rank]:
        outputs = [detections(r, np.random.default_rng(r["image_id"])) for r in video["frames"]]
        for output in outputs:  # none is too doubtful to be tracked
            output["instances"].scores = 0.5 + output["instances"].scores / 2
        evaluator.process([{**video, "records": video["frames"]}], [outputs])
    results = evaluator.evaluate()
    Path(folder, f"results of {rank}").write_text(json.dumps(results))


@pytest.mark.slow
def test_one_and_two_processes(mini_data, tmp_path):
    name = mini_data["train"]  # of three videos
    metadata = MetadataCatalog.get(name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        words = (processes, port, name, metadata.json_file, metadata.image_root, str(folder))
        if processes == 1:
            evaluate(0, *words)
        else:
            torch.multiprocessing.spawn(evaluate, words, processes)
    for file in ("results of 0", "ytvis_results.json", *FILES):
        assert (tmp_path / "1" / file).read_text() == (tmp_path / "2" / file).read_text()
    assert json.loads((tmp_path / "2" / "results of 1").read_text()) == {}
    content = json.loads((tmp_path / "1" / "evaluation.json").read_text())
    assert len(content["sequences"]) == 3
    assert 0 < content["results"]["temporal_stability"]["predictions"] < 100
    assert 0 < content["results"]["segm"]["AP"] < 100
    assert 0 < content["results"]["ytvis"]["AR10"] < 100
