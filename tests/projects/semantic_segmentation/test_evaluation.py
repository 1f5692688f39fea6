"""Mean IoU against metrics worked out by hand, and the file that has them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from PIL import Image
from video_semseg.engine import SemanticTrainer
from video_semseg.evaluation import VideoSemSegEvaluator, mean_iou

from tests.support.tiny import label_map
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import Embeddings
from videogcrf_det.segmentation import evaluate_pairwise


def one_hot(labels):
    return torch.nn.functional.one_hot(torch.tensor(labels).long(), 3).permute(2, 0, 1).float()


def evaluate(dataset, predictions, folder=None, cut=4):
    """Evaluate label maps (H, W); the first ``cut`` frames are one video, the rest another."""
    evaluator = VideoSemSegEvaluator(dataset, output_dir=folder and str(folder))
    evaluator.reset()
    records = DatasetCatalog.get(dataset)
    for name, part in [("a", slice(cut)), ("b", slice(cut, None))]:
        video = {"video_name": name, "records": records[part]}
        evaluator.process([video], [({"sem_seg": one_hot(p)} for p in predictions[part])])
    results = evaluator.evaluate()
    evaluator.write(results)
    return results["sem_seg"], evaluator.sequences


def perfect():
    return [np.where(label_map(n) < 3, label_map(n), 0) for n in range(8)]


def test_perfect_labels(room):
    metrics, sequences = evaluate(room, perfect())
    assert metrics["mIoU"] == pytest.approx(100)
    assert [s["sem_seg"]["mIoU"] for s in sequences.values()] == pytest.approx([100, 100])


def test_void_pixels_change_nothing(room):
    changed = perfect()
    for labels in changed:
        labels[:6] = 2  # the strip without labels
    assert evaluate(room, changed) == evaluate(room, perfect())


def test_by_hand(room):
    predictions = perfect()
    truth = np.stack([label_map(n) for n in range(8)])
    predictions[5][truth[5] == 1] = 2  # one box of eight is taken for a ball
    boxes, balls = (truth == 1).sum(), (truth == 2).sum()
    lost = (truth[5] == 1).sum()
    iou = {
        "floor": 100.0,
        "box": 100 * (boxes - lost) / boxes,
        "ball": 100 * balls / (balls + lost),
    }
    metrics, sequences = evaluate(room, predictions)
    assert {name: metrics[f"IoU-{name}"] for name in iou} == pytest.approx(iou)
    assert metrics["mIoU"] == pytest.approx(sum(iou.values()) / 3)
    assert sequences["a"]["sem_seg"]["mIoU"] == pytest.approx(100)
    assert sequences["b"]["sem_seg"]["mIoU"] < metrics["mIoU"]


def test_labels_that_no_frame_shows_are_left_out():
    matrix = np.zeros((4, 4), int)  # predicted, annotated; the last of the latter is void
    matrix[0, 0], matrix[1, 0], matrix[1, 1], matrix[2, 3] = 6, 2, 2, 9
    assert mean_iou(matrix) == pytest.approx(100 * (6 / 8 + 2 / 4) / 2)
    assert mean_iou(np.zeros((4, 4), int)) is None


def test_the_file(room, tmp_path):
    predictions = perfect()
    predictions[0][:] = 0
    metrics, sequences = evaluate(room, predictions, tmp_path)
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert content["dataset"] == room
    assert content["results"]["sem_seg"] == pytest.approx(metrics)
    assert content["sequences"] == sequences
    assert content["versions"]["PyTorch"] == torch.__version__


def test_labels_that_there_are_not_are_named(room, tmp_path):
    path = tmp_path / "wrong.png"
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(path)
    evaluator = VideoSemSegEvaluator(room)
    evaluator.reset()
    record = {**DatasetCatalog.get(room)[0], "sem_seg_file_name": str(path)}
    video = {"video_name": "a", "records": [record]}
    with pytest.raises(InputError, match=r"wrong.png hold 7, but there are 0 to 2"):
        evaluator.process([video], [[{"sem_seg": one_hot(perfect()[0])}]])


def test_label_maps_that_cannot_be_read(room, make_cfg, tmp_path):
    """They are named, and not their frames."""
    record = dict(DatasetCatalog.get(room)[0])
    path = tmp_path / "labels.png"
    path.write_bytes(Path(record["sem_seg_file_name"]).read_bytes()[:60])
    record["sem_seg_file_name"] = str(path)
    clip = {"video_id": "room", "frames": [record], "reference": 0, "width": 64, "height": 48}
    with pytest.raises(InputError, match=r"cannot read the label map \S+labels\.png .*copy it"):
        SemanticTrainer.build_train_mapper(make_cfg())(clip)


def test_a_data_set_of_instances(mini_data):
    with pytest.raises(InputError, match=f"{mini_data['val']} has no label for every pixel"):
        VideoSemSegEvaluator(mini_data["val"])


def test_a_data_set_of_other_labels(make_cfg):
    cfg = make_cfg("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 4)
    with pytest.raises(InputError, match=r"has 3 labels and the model .*NUM_CLASSES 4: set that"):
        SemanticTrainer.build_evaluator(cfg, cfg.DATASETS.TEST[0])


def test_pairwise_accuracy_of_a_field_that_knows_the_labels(make_cfg):
    cfg = make_cfg()
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    videos = list(SemanticTrainer.build_test_loader(cfg, cfg.DATASETS.TEST[0]))
    with torch.no_grad():
        unknown = evaluate_pairwise(model, videos)
    assert unknown["chance"] == pytest.approx(100 / 9)
    state = torch.get_rng_state()

    def oracle(features, valid_sizes, scaled):
        # a common vector, shorter for the label that a cell has
        labels = torch.stack(seen.pop(0))[:, None].float()
        labels = torch.nn.functional.interpolate(labels, features.shape[2:], mode="nearest-exact")
        known = one_hot(labels[:, 0].long().clamp(max=2).numpy().reshape(len(labels), -1))
        length = 5 - 4 * known.permute(1, 0, 2).flatten(1)  # (V, L P)
        embeddings = length[:, None]
        assert not scaled
        return Embeddings(embeddings, embeddings)

    frames = [frame for batch in videos for video in batch for frame in video["frames"]]
    seen = [[f["sem_seg"] for f in frames[k : k + 3]] for k in range(0, len(frames), 3)]
    model.crf.embeddings = oracle
    with torch.no_grad():
        known = evaluate_pairwise(model, videos)
    assert known["spatial_accuracy"] == known["temporal_accuracy"] == 100
    assert unknown["spatial_accuracy"] < 60
    assert torch.equal(torch.get_rng_state(), state)


def test_pairwise_accuracy_of_always_the_same(make_cfg):
    """That of the floor with itself, which the labels of all cells give as well."""
    cfg = make_cfg()
    model = build_model(cfg).eval()
    videos = list(SemanticTrainer.build_test_loader(cfg, cfg.DATASETS.TEST[0]))

    def floor(features, valid_sizes, scaled):
        size[:] = features.shape[2:]
        length = torch.tensor([1.0, 5.0, 5.0]).repeat_interleave(features[0, 0].numel())
        embeddings = length.expand(len(features), 1, -1)
        return Embeddings(embeddings, embeddings)

    size = [0, 0]
    model.crf.embeddings = floor
    with torch.no_grad():
        found = evaluate_pairwise(model, videos)
    rows, columns = (
        (np.arange(n) + 0.5) * length / n for n, length in zip(size, (48, 64), strict=True)
    )
    frames = [label_map(n)[np.ix_(rows.astype(int), columns.astype(int))] for n in range(8)]
    shares = [(labels == 0).sum() / (labels < 3).sum() for labels in frames]
    for kind in ("spatial", "temporal"):
        assert found[f"{kind}_accuracy"] == pytest.approx(found[f"{kind}_commonest"])
        assert found[f"{kind}_commonest"] == pytest.approx(100 * np.mean(shares) ** 2, abs=3)


def test_pairwise_accuracy_whoever_has_which_video(make_cfg):
    """As videos are divided among processes."""
    cfg = make_cfg()
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    ((video,),) = SemanticTrainer.build_test_loader(cfg, cfg.DATASETS.TEST[0])
    one, other = ([{**video, "video_id": name}] for name in ("one", "other"))
    with torch.no_grad():
        assert evaluate_pairwise(model, [one, other]) == evaluate_pairwise(model, [other, one])
        assert evaluate_pairwise(model, [one]) != evaluate_pairwise(model, [other])
