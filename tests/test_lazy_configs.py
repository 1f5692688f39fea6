"""Lazy configs beside the YAML files that say the same, and detectron2's own training tool."""

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import detectron2
import numpy as np
import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.engine import DefaultTrainer
from detectron2.modeling import build_model
from detectron2.utils.env import seed_all_rng
from omegaconf import DictConfig, ListConfig
from torch import Tensor, nn

from videogcrf_det.engine import VideoTrainer, build_cfg, load_video_model, run

FOLDER = Path("configs/lazy")
NAMES = ("mask_rcnn_R_50_FPN", "video_gcrf_R_50_FPN_4f")
OF_TORCH = set(vars(nn.Module())) - {"training", "_parameters", "_buffers", "_modules"}


def contents(value, path="", seen=None):
    """All that an object holds, down to numbers, tensors and functions: {path: value}."""
    seen = {} if seen is None else seen
    if isinstance(value, (dict, DictConfig)):
        items = dict(value)
    elif isinstance(value, (list, tuple, ListConfig)):
        items = dict(enumerate(value))
    elif isinstance(value, (Tensor, logging.Logger)) or hasattr(value, "__qualname__"):
        return {path: value}
    elif hasattr(value, "__dict__"):
        if id(value) in seen:
            return {path: f"the same as {seen[id(value)]}"}
        seen[id(value)] = path
        skipped = OF_TORCH if isinstance(value, nn.Module) else ()
        items = {key: item for key, item in vars(value).items() if key not in skipped}
        items["class"] = f"{type(value).__module__}.{type(value).__qualname__}"
    else:
        return {path: value}
    found = {f"{path} holds": sorted(map(str, items))}
    for key, item in items.items():
        found |= contents(item, f"{path}.{key}", seen)
    return found


def equal(first, second):
    if isinstance(first, Tensor):
        same_kind = isinstance(second, Tensor) and first.requires_grad == second.requires_grad
        return same_kind and torch.equal(first, second)
    return np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second


def differences(first, second):
    """The paths at which two objects hold something else."""
    first, second = contents(first), contents(second)
    return [
        path
        for path in first.keys() | second.keys()
        if path not in first or path not in second or not equal(first[path], second[path])
    ]


@pytest.fixture(scope="module", params=NAMES)
def pair(request):
    """Both configs and their models, with weights drawn with the same seed."""
    cfg = build_cfg(f"configs/DAVIS-Person/{request.param}.yaml")
    lazy = LazyConfig.load(str(FOLDER / f"{request.param}.py"))
    torch.manual_seed(0)
    stock = build_model(cfg)
    torch.manual_seed(0)
    return SimpleNamespace(cfg=cfg, lazy=lazy, yaml_model=stock, model=instantiate(lazy.model))


def optimizers(pair):
    pair.lazy.optimizer.params.model = pair.model
    return VideoTrainer.build_optimizer(pair.cfg, pair.yaml_model), instantiate(pair.lazy.optimizer)


def loaders(pair, mini_data, output_dir):
    """Training loader, test loader and evaluator of each config, all on the small data set."""
    cfg, lazy = pair.cfg.clone(), pair.lazy.copy()
    cfg.defrost()
    cfg.SEED = lazy.train.seed = 0
    cfg.OUTPUT_DIR = lazy.train.output_dir = str(output_dir)
    cfg.DATASETS.TRAIN = lazy.dataloader.train.clips.dataset_names = [mini_data["train"]]
    lazy.dataloader.test.dataset.dataset_name = mini_data["val"]
    return [
        VideoTrainer.build_train_loader(cfg),
        VideoTrainer.build_test_loader(cfg, mini_data["val"]),
        VideoTrainer.build_evaluator(cfg, mini_data["val"]),
    ], [instantiate(lazy.dataloader[key]) for key in ("train", "test", "evaluator")]


def test_models_are_equal(pair):
    # a weight that is not named is 1
    pair.yaml_model.roi_heads.box_predictor.loss_weight.setdefault("loss_cls", 1.0)
    assert not differences(pair.yaml_model, pair.model)


def test_training_is_equal(pair):
    solver, train = pair.cfg.SOLVER, pair.lazy.train
    assert train.init_checkpoint == pair.cfg.MODEL.WEIGHTS
    assert train.device == pair.cfg.MODEL.DEVICE
    assert train.seed == pair.cfg.SEED
    assert train.max_iter == solver.MAX_ITER
    assert train.checkpointer.period == solver.CHECKPOINT_PERIOD
    assert train.eval_period == pair.cfg.TEST.EVAL_PERIOD
    assert train.amp.enabled == solver.AMP.ENABLED

    expected, optimizer = optimizers(pair)
    assert type(optimizer).__name__ == type(expected).__name__
    for group in expected.param_groups + optimizer.param_groups:
        group.pop("foreach", None)  # how the step is computed, not what it is
    assert not differences(expected.param_groups, optimizer.param_groups)

    schedule = VideoTrainer.build_lr_scheduler(pair.cfg, expected)._multiplier
    multiplier = instantiate(pair.lazy.lr_multiplier)
    changes = [solver.WARMUP_ITERS, *solver.STEPS, solver.MAX_ITER]
    iterations = {*range(0, solver.MAX_ITER, 50), *changes, *(n - 1 for n in changes)}
    for where in (iteration / solver.MAX_ITER for iteration in iterations):
        assert multiplier(where) == schedule(where)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
def test_data_are_equal(pair, mini_data, tmp_path):
    data = pair.lazy.dataloader
    assert tuple(data.train.clips.dataset_names) == pair.cfg.DATASETS.TRAIN
    assert (data.test.dataset.dataset_name,) == pair.cfg.DATASETS.TEST
    expected, found = loaders(pair, mini_data, tmp_path)
    assert not differences(expected, found)


def test_the_chain_is_that_of_the_yaml_keys(mini_data, tmp_path):
    weights = str(tmp_path / "model.pth")
    # fmt: off
    cfg = build_cfg("configs/DAVIS-Person/mask_rcnn_R_50_FPN.yaml", [
        "MODEL.VIDEO_GCRF.FIELDS", "ready-made", "TEST.LATENCY", "1", "MODEL.WEIGHTS", weights,
        "INPUT.MIN_SIZE_TEST", "48", "DATALOADER.NUM_WORKERS", "0",
    ])
    # fmt: on
    torch.manual_seed(0)
    model = build_model(cfg)
    model.roi_heads.box_predictor.cls_score.weight.data *= 1e-3  # in doubt: there are detections
    torch.save({"model": model.state_dict()}, weights)
    lazy = LazyConfig.load(str(FOLDER / "mask_rcnn_R_50_FPN_steady.py"))
    lazy.model.weights, lazy.dataloader.test.num_workers = weights, 0
    lazy.dataloader.test.dataset.dataset_name = mini_data["val"]
    lazy.dataloader.test.mapper.augmentations[0].short_edge_length = 48
    model = instantiate(lazy.model)

    with torch.no_grad():
        expected, found = (
            list(each(video)[0])
            for each, video in (
                (load_video_model(cfg).eval(), next(iter(instantiate(lazy.dataloader.test)))),
                (model, next(iter(VideoTrainer.build_test_loader(cfg, mini_data["val"])))),
            )
        )
    assert any(len(frame["instances"]) for frame in expected)
    assert not differences(expected, found)
    lazy.model.weights = ""
    with pytest.raises(Exception, match="name those of the trained detector"):
        instantiate(lazy.model)


@pytest.fixture
def tool():
    """detectron2's own script, from the tools/ that lie beside its package: wheels and checkouts
    have them there. DETECTRON2_TOOLS names another folder."""
    beside = Path(detectron2.__file__).parents[1] / "tools"
    path = Path(os.getenv("DETECTRON2_TOOLS", beside), "lazyconfig_train_net.py")
    if not path.is_file():
        pytest.skip(f"no {path}: set DETECTRON2_TOOLS to the tools/ of detectron2's sources")
    return path


def losses(folder):
    """What metrics.json says of each iteration's losses and learning rate."""
    lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
    return [
        {key: value for key, value in line.items() if "loss" in key or key in ("iteration", "lr")}
        for line in lines
        if "total_loss" in line
    ]


# fmt: off
OPTS = [  # of both: four iterations of one clip of two small frames
    "INPUT.CLIP.NUM_FRAMES", "2", "INPUT.MIN_SIZE_TRAIN", "(48,)", "INPUT.MIN_SIZE_TEST", "48",
    "MODEL.WEIGHTS", "", "DATALOADER.NUM_WORKERS", "0", "SEED", "0", "SOLVER.IMS_PER_BATCH", "1",
    "SOLVER.MAX_ITER", "4", "SOLVER.STEPS", "(3,)", "SOLVER.WARMUP_ITERS", "1",
    "SOLVER.BASE_LR", "0.000001",
]
WORDS = [
    "model.num_frames=2", "dataloader.train.mapper.augmentations.0.short_edge_length=[48]",
    "dataloader.test.mapper.augmentations.0.short_edge_length=48",
    "dataloader.train.clips.dataset_names=[mini_davis_person_train]",
    "dataloader.test.dataset.dataset_name=mini_davis_person_val",
    "dataloader.train.num_workers=0", "dataloader.test.num_workers=0", "train.seed=0",
    "optimizer.lr=0.000001",
    "dataloader.train.clips_per_batch=1", "lr_multiplier.warmup_length=0.25", "train.log_period=1",
]
# fmt: on


@pytest.mark.slow
def test_detectron2s_tool_trains_evaluates_and_resumes(
    tool, start, mini_data, tmp_path, monkeypatch
):
    """The unmodified script knows nothing of the plugin; its results are those of ours."""

    def run_tool(*words):
        code, printed, errors = start(
            *(tool, "--config-file", FOLDER / f"{NAMES[1]}.py", *words, *WORDS),
            OMP_NUM_THREADS=1,
        )
        assert code == 0, printed + errors
        return printed

    output = f"train.output_dir={tmp_path}"
    begin = ["train.init_checkpoint=''", f"{output}/tool"]
    assert "copypaste: Task: segm" in run_tool(*begin, "train.max_iter=4")
    results = train_with_yaml(mini_data, tmp_path / "ours", monkeypatch)
    assert losses(tmp_path / "tool") == losses(tmp_path / "ours")
    predictions = "inference/{}/coco_instances_results.json"
    detections = (tmp_path / "tool" / predictions.format("mini_davis_person_val")).read_text()
    assert json.loads(detections)
    ours = tmp_path / "ours" / predictions.format(mini_data["val"])
    assert detections == ours.read_text()

    weights = f"train.init_checkpoint={tmp_path}/tool/model_final.pth"
    printed = run_tool("--eval-only", weights, f"{output}/again")
    assert f"'AP50': {results['segm']['AP50']}" in printed
    run_tool("--resume", *begin, "train.max_iter=5", "dataloader.train.start=4")
    assert [line["iteration"] for line in losses(tmp_path / "tool")] == list(range(5))


def train_with_yaml(mini_data, output, monkeypatch):
    """The same training from the YAML file, by VideoTrainer."""
    stock = VideoTrainer.build_hooks

    def build_hooks(self):
        hooks = stock(self)
        for hook in hooks:
            if hasattr(hook, "_writers"):
                hook._period = 1
        return hooks

    monkeypatch.setattr(VideoTrainer, "build_hooks", build_hooks)
    # VideoTrainer's draws its random numbers anew in every iteration
    monkeypatch.setattr(VideoTrainer, "run_step", DefaultTrainer.run_step)
    data = [f"('{mini_data[split]}',)" for split in ("train", "val")]
    named = ["DATASETS.TRAIN", data[0], "DATASETS.TEST", data[1], "OUTPUT_DIR", str(output)]
    seed_all_rng(0)
    return run(build_cfg(f"configs/DAVIS-Person/{NAMES[1]}.yaml", [*named, *OPTS]))
