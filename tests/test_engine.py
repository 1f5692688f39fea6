"""Training, resuming, checkpoints and configs through videogcrf_det.engine."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from detectron2.engine import AMPTrainer, DefaultTrainer
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from tests.conftest import CONFIG
from videogcrf_det import InputError
from videogcrf_det.config import gcrf_options
from videogcrf_det.config_keys import check_for_fields
from videogcrf_det.demo import baseline_cfg
from videogcrf_det.engine import (
    VideoTrainer,
    amp_precision,
    build_cfg,
    load_model,
    load_video_model,
    run,
)

SEGM = ("AP", "AP50", "AP75")


@pytest.fixture
def make_cfg(small):
    return lambda *opts: build_cfg(CONFIG, [*small, *map(str, opts)])


def steps(cfg):
    """The iterations that metrics.json has, and their losses."""
    lines = Path(cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [(e["iteration"], e["total_loss"]) for e in entries if "total_loss" in e]


@pytest.fixture
def each_step_logged(monkeypatch):
    """Have metrics.json written at every iteration, not at every twentieth."""
    stock = VideoTrainer.build_hooks

    def build_hooks(self):
        hooks = stock(self)
        for hook in hooks:
            if hasattr(hook, "_writers"):
                hook._period = 1
        return hooks

    monkeypatch.setattr(VideoTrainer, "build_hooks", build_hooks)


@pytest.mark.slow
@pytest.mark.usefixtures("each_step_logged")
def test_training_writes_its_files_and_returns_ap(make_cfg, mini_data):
    cfg = make_cfg("SOLVER.MAX_ITER", 3)
    results = run(cfg)
    assert set(SEGM) <= set(results["segm"])
    assert all(0 <= results["segm"][name] <= 100 for name in SEGM)
    assert set(SEGM) <= set(results["bbox"])
    output = Path(cfg.OUTPUT_DIR)
    assert (output / "last_checkpoint").read_text() == "model_final.pth"
    assert torch.load(output / "model_final.pth", weights_only=False)["iteration"] == 2
    assert list(output.glob("events.out.tfevents.*"))
    assert [iteration for iteration, _ in steps(cfg)] == [0, 1, 2]
    assert all(math.isfinite(loss) for _, loss in steps(cfg))
    assert (output / "inference" / mini_data["val"] / "coco_instances_results.json").is_file()

    again = run(cfg, resume=True, eval_only=True)  # the checkpoint is the model that was evaluated
    assert {name: again["segm"][name] for name in SEGM} == {
        name: results["segm"][name] for name in SEGM
    }


@pytest.mark.slow
@pytest.mark.usefixtures("each_step_logged")
def test_resume_goes_on_where_training_was(make_cfg):
    first = make_cfg("SOLVER.MAX_ITER", 2, "DATASETS.TEST", "()")
    run(first)
    saved = torch.load(Path(first.OUTPUT_DIR, "model_final.pth"), weights_only=False)
    cfg = make_cfg("SOLVER.MAX_ITER", 4, "DATASETS.TEST", "()", "MODEL.WEIGHTS", "not used.pth")
    trainer = VideoTrainer(cfg)
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 2
    loaded = trainer.model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in saved["model"].items())
    momentum = trainer._trainer.optimizer.state_dict()["state"]
    assert all(
        torch.equal(momentum[index]["momentum_buffer"], state["momentum_buffer"])
        for index, state in saved["trainer"]["_trainer"]["optimizer"]["state"].items()
        if state.get("momentum_buffer") is not None
    )
    trainer.train()
    assert [iteration for iteration, _ in steps(cfg)] == [0, 1, 2, 3]
    final = torch.load(Path(cfg.OUTPUT_DIR, "model_final.pth"), weights_only=False)
    assert final["iteration"] == 3


@pytest.mark.slow
def test_two_test_sets_have_results_and_folders_of_their_own(make_cfg, mini_data):
    both = (mini_data["val"], mini_data["train"])
    cfg = make_cfg("DATASETS.TEST", both, "SOLVER.MAX_ITER", 1)
    results = run(cfg)
    assert set(results) == set(both)
    for name in both:
        assert set(SEGM) <= set(results[name]["segm"])
        folder = Path(cfg.OUTPUT_DIR, "inference", name)
        detections = json.loads((folder / "coco_instances_results.json").read_text())
        # three sequences of six frames to train on, two to test on
        assert len({d["image_id"] for d in detections}) <= {both[0]: 12, both[1]: 18}[name]
        assert max(d["image_id"] for d in detections) > {both[0]: 6, both[1]: 12}[name]


@pytest.mark.slow
def test_a_checkpoint_of_the_stock_trainer_loads(make_cfg):
    """From a DefaultTrainer and stock classes alone into the detector with the random field."""
    stock = make_cfg(
        *["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "DATASETS.TEST", "()"],
        *["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "SOLVER.MAX_ITER", 1],
    )

    trainer = DefaultTrainer(stock)
    trainer.train()
    weights = Path(stock.OUTPUT_DIR, "model_final.pth")
    model = load_model(make_cfg("MODEL.WEIGHTS", weights))
    ours = model.state_dict()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(ours[name], value), name


@pytest.fixture
def save(tmp_path):
    """Save the weights of a config's model, those that ``keep`` names."""

    def save(cfg, keep=lambda name: True):
        path = tmp_path / "weights.pth"
        state = {name: v for name, v in build_model(cfg).state_dict().items() if keep(name)}
        torch.save({"model": state}, path)
        return path

    return save


def test_weights_of_another_architecture(make_cfg, save):
    path = save(make_cfg())
    cfg = make_cfg("MODEL.RESNETS.DEPTH", 50, "MODEL.WEIGHTS", path)
    with pytest.raises(
        InputError, match=r"of another architecture: it lacks \d+ of the backbone's"
    ):
        load_model(cfg)
    with pytest.raises(InputError, match="another architecture"):
        VideoTrainer(cfg).resume_or_load(resume=False)


def test_weights_without_heads_are_trained_from_but_not_evaluated(make_cfg, save):
    path = save(make_cfg(), keep=lambda name: name.startswith("backbone.bottom_up."))
    cfg = make_cfg("MODEL.WEIGHTS", path)
    with pytest.raises(InputError, match=r"lacks \d+ tensors of the model, such as \S+"):
        load_model(cfg)
    VideoTrainer(cfg).resume_or_load(resume=False)


def test_a_detector_that_stays_as_it_is_has_to_be_there(make_cfg, save):
    def start(path):
        cfg = make_cfg("MODEL.WEIGHTS", path, "MODEL.VIDEO_GCRF.FREEZE_DETECTOR", True)
        VideoTrainer(cfg).resume_or_load(resume=False)

    with pytest.raises(InputError, match="'' is empty: name a trained detector"):
        start("")
    with pytest.raises(InputError, match=r"lacks \d+ tensors, such as roi_heads\.\S+: name a"):
        start(save(make_cfg(), keep=lambda name: not name.startswith("roi_heads.")))
    start(save(make_cfg(), keep=lambda name: not name.startswith("backbone.gcrf.")))


def test_weights_without_the_random_field_are_a_detector(make_cfg, save):
    path = save(make_cfg(), keep=lambda name: not name.startswith("backbone.gcrf."))
    load_model(make_cfg("MODEL.WEIGHTS", path))


def test_a_missing_weights_file(make_cfg, tmp_path):
    cfg = make_cfg("MODEL.WEIGHTS", tmp_path / "none.pth")
    for start in (load_model, lambda cfg: VideoTrainer(cfg).resume_or_load(resume=False)):
        with pytest.raises(InputError, match=r"none\.pth.* MODEL\.WEIGHTS"):
            start(cfg)


def test_a_file_that_is_not_a_checkpoint(make_cfg, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(random.Random(0).randbytes(100))
    with pytest.raises(InputError, match=r"weights\.pth"):
        load_model(make_cfg("MODEL.WEIGHTS", path))


@pytest.mark.parametrize("distances", [[], [1], [1, 2, 4]])
def test_neighbourhoods_are_distances(make_cfg, distances, tmp_path):
    """On the command line, in a file, and in the config.yaml of a training."""
    cfg = make_cfg("MODEL.VIDEO_GCRF.NEIGHBOURHOOD", distances)
    dumped, written = tmp_path / "dumped.yaml", tmp_path / "written.yaml"
    dumped.write_text(cfg.dump())
    key = f"MODEL: {{VIDEO_GCRF: {{NEIGHBOURHOOD: {distances}}}}}"
    written.write_text(f"_BASE_: {Path(CONFIG).absolute()}\n{key}")
    for again in (cfg, build_cfg(str(dumped)), build_cfg(str(written))):
        field = build_model(again).backbone.gcrf["p3"].field
        assert list(field.neighbourhood) == distances
    again = build_cfg(str(written), ["MODEL.VIDEO_GCRF.NEIGHBOURHOOD", "[2]"])
    assert gcrf_options(again)["neighbourhood"] == [2]


@pytest.mark.parametrize("word", ['"2"', "4", "6ms", "fc"])
def test_former_neighbourhoods_are_named(word, tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(
        f"_BASE_: {Path(CONFIG).absolute()}\nMODEL: {{VIDEO_GCRF: {{NEIGHBOURHOOD: {word}}}}}"
    )
    value = word.strip('"')
    message = rf"old\.yaml: MODEL\.VIDEO_GCRF\.NEIGHBOURHOOD '{value}'.*\[1, 2\] for 4"
    with pytest.raises(InputError, match=message):
        build_cfg(str(path))
    with pytest.raises(InputError, match=message.replace("old", "4f")):
        build_cfg(CONFIG, ["MODEL.VIDEO_GCRF.NEIGHBOURHOOD", value])


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        (["INPUT.CLIP.NUM_FRAMES", 1, "INPUT.CLIP.STRIDE", 2], "STRIDE 2 .* with .*NUM_FRAMES 1"),
        (["SOLVER.AMP.PRECISION", "bfloat16"], "PRECISION bfloat16 .* with .*ENABLED False"),
        (
            ["MODEL.VIDEO_GCRF.TEMPORAL_DIM", 0, "MODEL.VIDEO_GCRF.NEIGHBOURHOOD", [1]],
            r"NEIGHBOURHOOD \[1\] .* with .*TEMPORAL_DIM 0: leave it at \[\]",
        ),
        (
            ["MODEL.VIDEO_GCRF.NUM_CONVS", 0, "MODEL.VIDEO_GCRF.CONV_DIM", 8],
            "CONV_DIM 8 .* with .*NUM_CONVS 0",
        ),
        (
            ["MODEL.VIDEO_GCRF.LEARN_LAMBDA", True],
            "LEARN_LAMBDA is not valid any more: leave it",
        ),
    ],
)
def test_keys_that_another_makes_meaningless_are_refused(make_cfg, opts, sentence):
    with pytest.raises(InputError, match=sentence):
        make_cfg(*opts)


@pytest.mark.parametrize("eval_only", [True, False])
@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("TEST.LATENCY", 2, "LATENCY 2 would change nothing without MODEL.VIDEO_GCRF.FIELDS"),
        ("MODEL.VIDEO_GCRF.STRENGTH", 0.5, "STRENGTH 0.5 .* without .*FIELDS: leave it at 1.0"),
        ("MODEL.VIDEO_GCRF.MOTION", "dis", "MOTION dis .* without .*FIELDS"),
    ],
)
def test_keys_of_fields_are_refused_without(make_cfg, key, value, sentence, eval_only):
    with pytest.raises(InputError, match=sentence):
        run(make_cfg(key, value), eval_only=eval_only)


def test_batches_of_frames_are_refused_where_there_are_none(make_cfg):
    stock = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.META_ARCHITECTURE"]
    with pytest.raises(InputError, match=r"FRAMES_PER_BATCH 4 .* without ClipRCNN or .*FIELDS"):
        run(make_cfg(*stock, "GeneralizedRCNN", "TEST.FRAMES_PER_BATCH", 4), eval_only=True)


def test_what_is_for_fields_goes_with_them(make_cfg):
    fields = ["MODEL.VIDEO_GCRF.FIELDS", "ready-made", "MODEL.VIDEO_GCRF.STRENGTH", 0.5]
    stock = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.META_ARCHITECTURE"]
    test = ["TEST.LATENCY", 2, "TEST.FRAMES_PER_BATCH", 4, "MODEL.WEIGHTS", "a.pth"]
    cfg = baseline_cfg(make_cfg(*stock, "GeneralizedRCNN", *fields, *test), "b.pth")
    check_for_fields(cfg)
    assert (cfg.MODEL.VIDEO_GCRF.FIELDS, cfg.MODEL.WEIGHTS) == ("", "b.pth")


def test_detections_are_not_averaged_instead_of_coupled(make_cfg, tmp_path):
    weights = tmp_path / "model.pth"
    torch.save({"model": build_model(make_cfg()).state_dict()}, weights)
    opts = ["TEST.DETECTION_WINDOW", 5, "MODEL.WEIGHTS", weights]
    with pytest.raises(InputError, match=r"WINDOW 5 is for a detector without random fields"):
        load_video_model(make_cfg(*opts))


@pytest.mark.parametrize(
    ("config_file", "opts", "sentence"),
    [
        (CONFIG, ["MODEL.VIDEO_GCRF.LAMDA", "1"], r"MODEL\.VIDEO_GCRF\.LAMDA"),
        (CONFIG, ["SOLVER.MAX_ITER", "many"], "many.*MAX_ITER"),
        (CONFIG, ["SOLVER.MAX_ITER"], "odd length.*MAX_ITER"),
        ("configs/none.yaml", [], r"configs/none\.yaml"),
        (CONFIG, ["OUTPUT_DIR", "s3://bucket/output"], r"s3://bucket/output is an address.*folder"),
    ],
)
def test_bad_configs(config_file, opts, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        build_cfg(config_file, opts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("MODEL: [", "bad.yaml"), ("MODEL:\n  WIEGHTS: a.pth\n", r"MODEL\.WIEGHTS"), ("- 1", "bad")],
)
def test_bad_config_files(tmp_path, text, sentence):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as caught:
        build_cfg(str(path))
    assert "\n" not in str(caught.value)


def first_losses(cfg):
    """The loss of the first iteration, and the types of the gradients."""
    torch.manual_seed(0)
    trainer = VideoTrainer(cfg)
    with EventStorage() as storage:
        trainer.iter = 0
        trainer.run_step()
    kinds = {p.grad.dtype for p in trainer.model.parameters() if p.grad is not None}
    return storage.latest()["total_loss"][0], kinds


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_mixed_precision_on_cpus(make_cfg):
    """In bfloat16, which shows in the loss; weights and gradients stay in float32."""
    full, mixed = (
        first_losses(make_cfg("SEED", 0, "SOLVER.AMP.ENABLED", enabled))
        for enabled in (False, True)
    )
    assert mixed[0] == pytest.approx(full[0], rel=0.05)
    assert mixed[0] != full[0]
    assert mixed[1] == {torch.float32}


def test_learning_rate_of_the_random_field(make_cfg):
    cfg = make_cfg("SOLVER.VIDEO_GCRF_LR_FACTOR", 10.0, "SOLVER.CLIP_GRADIENTS.ENABLED", True)
    model = VideoTrainer.build_model(cfg)
    optimizer = VideoTrainer.build_optimizer(cfg, model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = 10 if name.startswith("backbone.gcrf.") else 1
            assert rates[id(parameter)] == pytest.approx(factor * cfg.SOLVER.BASE_LR), name
    plain = VideoTrainer.build_optimizer(make_cfg(), model)
    assert {group["lr"] for group in plain.param_groups} == {cfg.SOLVER.BASE_LR}
    kept = ("momentum", "nesterov", "weight_decay")
    assert {tuple(g[k] for k in kept) for g in optimizer.param_groups} == {
        tuple(g[k] for k in kept) for g in plain.param_groups
    }


def test_optimizers(make_cfg):
    opts = ["SOLVER.VIDEO_GCRF_LR_FACTOR", 10.0, "SOLVER.CLIP_GRADIENTS.ENABLED", True]
    cfg = make_cfg("SOLVER.OPTIMIZER", "AdamW", "SOLVER.BASE_LR", 1e-4, *opts)
    model = VideoTrainer.build_model(cfg)
    optimizer = VideoTrainer.build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4, 1e-3}
    weight = model.backbone.gcrf["p3"].output.weight
    assert not weight.any()
    weight.grad = torch.full_like(weight, 1e-6)
    optimizer.step()  # of the size of the rate, however small the gradient
    torch.testing.assert_close(weight, torch.full_like(weight, -1e-3), rtol=0.05, atol=0)
    with pytest.raises(InputError, match=r"SOLVER.OPTIMIZER 'Adam' is not known: use SGD or AdamW"):
        VideoTrainer.build_optimizer(make_cfg("SOLVER.OPTIMIZER", "Adam"), model)


def test_clips_have_one_sampler(make_cfg):
    cfg = make_cfg("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler")
    with pytest.raises(InputError, match=r"SAMPLER_TRAIN RepeatFactor.*by TrainingSampler"):
        VideoTrainer(cfg)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_precision_of_mixed_precision(make_cfg):
    def of(*opts):
        return amp_precision(make_cfg(*opts))

    enabled = ["SOLVER.AMP.ENABLED", True, "SOLVER.AMP.PRECISION"]
    assert of() is None
    assert of(*enabled, "") is of(*enabled, "bfloat16") is torch.bfloat16
    with pytest.raises(InputError, match=r"PRECISION 'tf32' is not known: use float16 or bfl"):
        of(*enabled, "tf32")
    with pytest.raises(InputError, match=r"PRECISION float16 takes scaled gradients.*bfloat16"):
        of(*enabled, "float16")
    on_gpu = make_cfg(*enabled, "")
    on_gpu.defrost()
    on_gpu.MODEL.DEVICE = "cuda"
    assert amp_precision(on_gpu) is torch.float16
    on_gpu.SOLVER.AMP.PRECISION = "bfloat16"
    assert amp_precision(on_gpu) is torch.bfloat16


def test_mixed_precision_goes_on_where_another_device_stopped(make_cfg):
    """On a GPU from a checkpoint of a CPU, which has no scale of gradients, and back."""
    on_cpu, on_gpu = (VideoTrainer(make_cfg("SOLVER.AMP.ENABLED", True)) for _ in range(2))
    parts = on_gpu.model, on_gpu._trainer.data_loader, on_gpu._trainer.optimizer
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    on_gpu._trainer = AMPTrainer(*parts, grad_scaler=scaler)
    for trainer in (on_cpu, on_gpu):
        trainer.iter = trainer._trainer.iter = 7
    saved = on_gpu.state_dict()
    assert saved["_trainer"]["grad_scaler"]
    on_cpu.load_state_dict(saved)
    for without in (on_cpu.state_dict(), {**saved, "_trainer": {**saved["_trainer"]}}):
        without["_trainer"]["grad_scaler"] = {}  # as bfloat16 leaves it
        on_gpu.load_state_dict(without)
        del without["_trainer"]["grad_scaler"]
        on_gpu.load_state_dict(without)
        assert on_gpu.iter == 7
        assert scaler.get_scale() == 64
