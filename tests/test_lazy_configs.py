"""Lazy configs beside the YAML files that they are twins of, and detectron2's own training tool."""

import json
import logging
import os
import subprocess
import sys
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
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig, ListConfig
from torch import Tensor, nn

from videogcrf_det.engine import VideoTrainer, build_cfg, run

FOLDER = Path("configs/lazy")
DEMO = "mini_davis_video_gcrf_R_18_FPN_4f"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "common")
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
    return load_pair(request.param)


def load_pair(name):
    """Both configs and their models, with weights drawn with the same seed."""
    (path,) = Path("configs").rglob(f"{name}.yaml")
    cfg, lazy = build_cfg(str(path)), LazyConfig.load(str(FOLDER / f"{name}.py"))
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


def test_every_config_of_the_paper_has_a_twin():
    named = {path.stem for path in Path("configs/DAVIS-Person").glob("*.yaml")}
    others = {"Base-DAVIS-Person", "video_gcrf_R_50_FPN_4f_average"}
    assert set(NAMES) == named - others | {DEMO}
    folders = [LazyConfig.load(str(FOLDER / f"{name}.py")).train.output_dir for name in NAMES]
    assert [Path(folder).name for folder in folders] == NAMES


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


@pytest.fixture
def demo():
    return load_pair(DEMO)


def test_losses_steps_and_detections_are_equal(demo, mini_data, tmp_path):
    (first, videos, _), (second, _, _) = loaders(demo, mini_data, tmp_path)
    clips = next(iter(first))
    assert not differences(clips, next(iter(second)))
    models = [demo.yaml_model, demo.model]
    for model, optimizer in zip(models, optimizers(demo), strict=True):
        torch.manual_seed(1)
        with EventStorage():
            total = sum(model(clips).values())
        (1000 * total).backward()  # so that gradients are clipped
        optimizer.step()
    assert not differences(models[0].state_dict(), models[1].state_dict())

    torch.manual_seed(2)
    other = instantiate(demo.lazy.model).eval()
    assert not other.load_state_dict(models[0].state_dict()).missing_keys
    with torch.no_grad():
        video = next(iter(videos))
        outputs = [list(model.eval()(video)[0]) for model in (models[0], other)]
    assert any(len(output["instances"]) for output in outputs[0])
    assert not differences(*outputs)


def test_a_saved_config_makes_the_same(demo, tmp_path):
    """The tool writes its config, overrides included, to the output folder."""
    LazyConfig.save(demo.lazy, str(tmp_path / "config.yaml"))
    saved = LazyConfig.load(str(tmp_path / "config.yaml"))
    model = instantiate(saved.model)
    model.load_state_dict(demo.model.state_dict())
    assert not differences(demo.model, model)
    demo.lazy, demo.model = saved, model
    expected, optimizer = optimizers(demo)
    assert type(optimizer).__name__ == type(expected).__name__


# --------------------------------------------------------------------------------------------------


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


@pytest.mark.slow
def test_detectron2s_tool_trains_evaluates_and_resumes(tool, mini_root, small, monkeypatch):
    """The unmodified script knows nothing of the plugin; its results are those of ours."""
    output = Path(small[small.index("OUTPUT_DIR") + 1])
    by_tool, again = output / "tool", output / "again"

    def start(*words):
        # fmt: off
        command = [
            sys.executable, tool, "--config-file", FOLDER / f"{DEMO}.py", *words,
            "dataloader.train.mapper.augmentations.0.short_edge_length=[48]",
            "dataloader.test.mapper.augmentations.0.short_edge_length=48",
            "model.num_frames=2", "train.log_period=1",
        ]
        # fmt: on
        env = {**os.environ, "OMP_NUM_THREADS": "1", "DETECTRON2_DATASETS": str(mini_root.parent)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "copypaste: Task: segm" in start("train.max_iter=6", f"train.output_dir={by_tool}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the script; more of them add in another order
    ours = train_with_yaml(small, output / "ours", monkeypatch)
    torch.set_num_threads(threads)
    assert losses(by_tool) == losses(output / "ours")
    predictions = "inference/{}/coco_instances_results.json"
    detections = (by_tool / predictions.format("mini_davis_person_val")).read_text()
    assert json.loads(detections)
    assert detections == (output / "ours" / predictions.format("test_mini_val")).read_text()

    weights = f"train.init_checkpoint={by_tool}/model_final.pth"
    printed = start("--eval-only", weights, f"train.output_dir={again}")
    assert f"'AP50': {ours['segm']['AP50']}" in printed
    assert detections == (again / predictions.format("mini_davis_person_val")).read_text()

    start("--resume", "train.max_iter=8", f"train.output_dir={by_tool}", "dataloader.train.start=6")
    assert [line["iteration"] for line in losses(by_tool)] == list(range(8))


def train_with_yaml(small, output, monkeypatch):
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
    # fmt: off
    opts = [
        "DATASETS.TRAIN", "('test_mini_train',)", "DATASETS.TEST", "('test_mini_val',)",
        "OUTPUT_DIR", str(output), "INPUT.CLIP.NUM_FRAMES", "2", "INPUT.MIN_SIZE_TRAIN", "(48,)",
        "INPUT.MIN_SIZE_TEST", "48", "SOLVER.MAX_ITER", "6", "SOLVER.STEPS", "(5,)",
        "SOLVER.WARMUP_ITERS", "1",  # as 600 : 440 and 550 : 100
    ]
    # fmt: on
    seed_all_rng(0)
    return run(build_cfg(f"configs/quick_schedules/{DEMO}.yaml", opts))
