"""Configs that a user may write: each works, or is refused in one sentence that names the key."""

import pytest

from tests.conftest import CONFIG
from videogcrf_det.engine import VideoTrainer, build_cfg, run
from videogcrf_det.errors import InputError

REFUSED = [
    ["MODEL.LOAD_PROPOSALS", "True"],
    ["DATASETS.PROPOSAL_FILES_TRAIN", "('a.pkl',)"],
    ["DATASETS.PROPOSAL_FILES_TEST", "('a.pkl',)"],
    ["DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN", "100"],
    ["MODEL.KEYPOINT_ON", "True"],
    ["MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "3"],
    ["TEST.KEYPOINT_OKS_SIGMAS", "[0.1]"],
    ["DATALOADER.REPEAT_THRESHOLD", "0.5"],
    ["TEST.AUG.ENABLED", "True"],
    ["TEST.AUG.MIN_SIZES", "(100, 200)"],
    ["MODEL.RETINANET.NUM_CLASSES", "5"],
    ["MODEL.PANOPTIC_FPN.COMBINE.ENABLED", "False"],
    ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5"],
    ["INPUT.MIN_SIZE_TRAIN_SAMPLING", "sometimes"],
    ["INPUT.RANDOM_FLIP", "diagonal"],
    ["INPUT.CROP.TYPE", "round"],
    ["INPUT.MASK_FORMAT", "rle"],
    ["SOLVER.WARMUP_METHOD", "cosine"],
    ["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "max"],
    ["SOLVER.MAX_ITER", "0"],
    ["SOLVER.CHECKPOINT_PERIOD", "0"],
    ["SOLVER.WARMUP_ITERS", "-1"],
    ["SOLVER.WEIGHT_DECAY", "-0.1"],
    ["SOLVER.BASE_LR", "0"],
    ["SOLVER.BASE_LR", "-1.0"],
    ["SOLVER.VIDEO_GCRF_LR_FACTOR", "0.0"],
    ["TEST.EVAL_PERIOD", "-1"],
    ["TEST.DETECTIONS_PER_IMAGE", "0"],
    ["DATALOADER.NUM_WORKERS", "-1"],
    ["INPUT.MAX_SIZE_TEST", "0"],
    ["INPUT.MIN_SIZE_TRAIN", "()"],
    ["INPUT.MIN_SIZE_TRAIN", "(0,)"],
    ["MODEL.PIXEL_STD", "[0.0, 1.0, 1.0]"],
    ["MODEL.PIXEL_STD", "[1.0]"],
    ["TEST.EXPECTED_RESULTS", "[['segm', 'AP']]"],
    ["SOLVER.OPTIMIZER", "Adam"],
    ["MODEL.NO_SUCH_KEY", "1"],
    ["SOLVER.MAX_ITER", "many"],
    ["OUTPUT_DIR", "s3://bucket/run"],
    [*["SOLVER.OPTIMIZER", "AdamW"], *["SOLVER.MOMENTUM", "0.8"]],
]


@pytest.mark.parametrize("opts", REFUSED, ids=lambda opts: " ".join(opts[-2:]))
def test_a_key_that_cannot_be_meant_is_named(opts):
    if opts == ["SOLVER.OPTIMIZER", "Adam"]:  # known when the optimizer is made
        import torch

        with pytest.raises(InputError, match=r"SOLVER\.OPTIMIZER"):
            VideoTrainer.build_optimizer(build_cfg(CONFIG, opts), torch.nn.Linear(2, 2))
        return
    with pytest.raises(InputError) as caught:
        build_cfg(CONFIG, opts)
    sentence = str(caught.value)
    assert opts[-2].split(".")[-1] in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "opts",
    [
        ["INPUT.MIN_SIZE_TRAIN", "(100, 140)", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"],
        ["SOLVER.OPTIMIZER", "AdamW"],
        ["TEST.EXPECTED_RESULTS", "[['segm', 'AP', 30.0, 1.0]]"],
        ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "MODEL.KEYPOINT_ON", "True"],
        ["MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.RETINANET.NUM_CLASSES", "5"],
    ],
    ids=" ".join,
)
def test_keys_that_have_an_effect_are_taken(opts):
    build_cfg(CONFIG, opts)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["MODEL.META_ARCHITECTURE", "GeneralizedRCNN"], "takes single images and no clips"),
        (
            ["MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.RETINANET.NUM_CLASSES", "1"],
            "takes single images and no clips",
        ),
        (["MODEL.META_ARCHITECTURE", "NoSuch"], "NoSuch"),
        (["MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals"], "makes no proposals"),
        (["MODEL.RESNETS.DEFORM_ON_PER_STAGE", "[False, False, False, True]"], "compiled"),
        (["MODEL.RESNETS.DEPTH", "17"], "does not make a model"),
        (["MODEL.BACKBONE.NAME", "no_such_backbone"], "does not make a model"),
        (["MODEL.ROI_HEADS.NAME", "NoSuchHeads"], "does not make a model"),
        (["MODEL.VIDEO_GCRF.FIELDS", "f.pth"], "leave them out in training"),
        (["SOLVER.LR_SCHEDULER_NAME", "NoSuchLR"], "schedule"),
        (["SOLVER.STEPS", "(5, 3)", "SOLVER.MAX_ITER", "9"], "schedule"),
        (["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"], "TrainingSampler"),
        (["INPUT.CLIP.NUM_FRAMES", "0"], "NUM_FRAMES"),
        (["INPUT.CLIP.STRIDE", "0"], "STRIDE"),
        (["INPUT.CLIP.DEGRADED", "2.0"], "DEGRADED"),
        (["MODEL.VIDEO_GCRF.IN_FEATURES", "['p9']"], "IN_FEATURES"),
        (["DATASETS.TRAIN", "('nowhere',)"], "nowhere"),
        (["DATASETS.TEST", "('nowhere',)"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_training_that_cannot_be_meant_ends_before_it_begins(opts, message, small, tmp_path):
    with pytest.raises(InputError, match=message):
        run(build_cfg(CONFIG, [*small, *opts]))
    assert not list((tmp_path / "out").glob("**/*.pth"))
