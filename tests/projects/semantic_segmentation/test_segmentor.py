"""The segmentor: its losses, its gradients, and segmentation of videos."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from tests.support.tiny import CONFIG, VOID, frame_of, label_map
from videogcrf_det.engine import build_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf.pairwise import pairwise_objective
from videogcrf_det.segmentation import add_segmentation_config

AVERAGES = ["MODEL.VIDEO_GCRF.PAIRWISE", "average", "MODEL.VIDEO_GCRF.SPATIAL_DIM", 0]
RESNET_18 = "projects/semantic_segmentation/configs/DAVIS-Person/quick_R_18_2f.yaml"


def make(make_cfg, phase="joint", *opts):
    """A segmentor with the weights of ``tiny``, as far as it has them."""
    cfg = make_cfg("MODEL.PHASE", phase, *opts)
    torch.manual_seed(0)
    model = build_model(cfg)
    own = model.state_dict()
    weights = torch.load(cfg.MODEL.WEIGHTS)["model"]
    fitting = {k: w for k, w in weights.items() if k in own and w.shape == own[k].shape}
    model.load_state_dict(fitting, strict=False)
    return model


def frame(number, **fields):
    pixels = torch.tensor(frame_of(number)[:, :, ::-1].copy()).permute(2, 0, 1)
    labels = torch.tensor(label_map(number), dtype=torch.long)
    return {"image": pixels, "sem_seg": labels, "height": 48, "width": 64, **fields}


def segment(model, frames):
    return torch.stack([out["sem_seg"] for out in model.eval().segment_video(frames)])


def losses(model, *clips):
    torch.manual_seed(1)  # of the dropout, and of the pairs
    with EventStorage():
        return model.train()([{"frames": clip} for clip in clips])


@pytest.mark.parametrize(
    ("phase", "opts"), [("unary", []), ("pairwise", []), ("joint", []), ("joint", AVERAGES)]
)
def test_gradients_equal_finite_differences(make_cfg, phase, opts):
    model = make(make_cfg, phase, *opts).double()
    clip = [frame(n) for n in range(3)]
    parameters = [p for p in model.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=generator).double() for p in parameters]

    def loss():
        return sum(losses(model, clip).values())

    gradients = torch.autograd.grad(loss(), parameters)
    expected = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    step, found = 1e-7, []
    with torch.no_grad():
        for sign in (1, -1):
            for parameter, d in zip(parameters, direction, strict=True):
                parameter += sign * step * d
            found.append(loss())
            for parameter, d in zip(parameters, direction, strict=True):
                parameter -= sign * step * d
    assert torch.isclose((found[0] - found[1]) / (2 * step), expected, rtol=1e-4)


def test_gradients_of_the_joint_phase_reach_everything_that_is_not_frozen(make_cfg):
    model = make(make_cfg)
    sum(losses(model, [frame(0), frame(1), frame(2)]).values()).backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("backbone.stem", "backbone.res2"))
        assert frozen or parameter.grad.abs().max() > 0, name


def test_the_unaries_have_no_random_field_and_the_pairwise_phase_trains_nothing_else(make_cfg):
    assert not any(name.startswith("crf") for name in make(make_cfg, "unary").state_dict())
    trained = [n for n, p in make(make_cfg, "pairwise").named_parameters() if p.requires_grad]
    assert trained
    assert all(name.startswith("crf") for name in trained)


@pytest.mark.parametrize("phase", ["unary", "pairwise", "joint"])
@pytest.mark.parametrize("config", [CONFIG, RESNET_18])
def test_several_processes_know_of_layers_that_nothing_reads(tiny, config, phase):
    """Where some get no gradient, torch waits for them unless it is told."""
    opts = [*tiny, "MODEL.WEIGHTS", "", "MODEL.PHASE", phase]
    opts += ["MODEL.BACKBONE.FREEZE_AT", "0", "MODEL.RESNETS.NORM", "FrozenBN"]
    if config == RESNET_18:
        opts += ["MODEL.RESNETS.RES2_OUT_CHANNELS", "64"]
    model = build_model(build_cfg(config, opts, add_segmentation_config))
    sum(losses(model, [frame(0), frame(1)]).values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert model.has_unread_features == bool(without), without
    assert bool(without) == (config == RESNET_18 and phase != "pairwise")


def test_the_loss_is_the_cross_entropy_of_pixels_with_a_label(make_cfg):
    model = make(make_cfg)
    model.head.dropout.p = 0.0
    clip = [frame(n) for n in range(3)]
    images = model._images(clip)
    features = model.backbone(images.tensor)
    scores = model.crf(features["res4"], [3], unary=model.unaries(features, None))
    scores = F.interpolate(scores, (48, 64), mode="bilinear", align_corners=False)
    labels = torch.stack([f["sem_seg"] for f in clip])
    known = labels != VOID
    log = scores.log_softmax(1).permute(0, 2, 3, 1)[known]
    expected = -log.gather(1, labels[known][:, None]).mean()
    assert torch.isclose(losses(model, clip)["loss_sem_seg"], expected)
    assert 0 < known.float().mean() < 1


def test_scores_count_above_that_of_the_lowest_label(make_cfg):
    """What all labels have in common says nothing, to a softmax as to couplings."""
    model = make(make_cfg).double()
    frames = [frame(n) for n in range(3)]
    before = segment(model, frames)
    with torch.no_grad():
        unaries = model.unaries(model.backbone(model._images(frames).tensor), None)
        model.head.classifier.bias += 7
    assert (unaries.amin(1) == 0).all()
    assert torch.allclose(segment(model, frames), before)


def test_clips_of_a_batch_are_not_coupled(make_cfg):
    model = make(make_cfg)
    model.head.dropout.p = 0.0
    first, second = [frame(0), frame(1)], [frame(4), frame(6), frame(7)]
    apart = [losses(model, clip)["loss_sem_seg"] for clip in (first, second)]
    pixels = [sum((f["sem_seg"] != VOID).sum() for f in clip) for clip in (first, second)]
    mean = sum(a * n for a, n in zip(apart, pixels, strict=True)) / sum(pixels)
    assert torch.isclose(losses(model, first, second)["loss_sem_seg"], mean)


def test_a_batch_without_labels_has_a_loss_of_zero(make_cfg):
    model = make(make_cfg)
    void = torch.full((48, 64), VOID)
    loss = losses(model, [frame(0, sem_seg=void), frame(1, sem_seg=void)])["loss_sem_seg"]
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def test_pairs_are_not_drawn_where_there_is_no_label(make_cfg):
    model = make(make_cfg, "pairwise").eval()
    clip = [frame(n) for n in range(3)]
    for labelled in clip:
        labelled["sem_seg"][:] = VOID
        labelled["sem_seg"][24:48, 32:] = 1  # cells of this label alone: no pair has another
    seen = []
    original = model.crf.embeddings

    def without(*args, **options):
        found = original(*args, **options)
        outside = torch.ones(6, 8, dtype=torch.bool)
        outside[3:, 4:] = False
        for embeddings in (found.spatial, found.temporal):
            embeddings.unflatten(2, (3, 48))[..., outside.flatten()] = float("nan")
        seen.append(found.spatial)
        return found

    model.crf.embeddings = without
    found = model.pairwise(clip)
    assert seen[0].isnan().any()
    assert all(result.loss.isfinite() for result in found.values())


def test_couplings_that_the_objective_sees_do_not_depend_on_padding(make_cfg, monkeypatch):
    """A clip beside a wider one: its embeddings are multiplied by what the layer divides them by,
    the root of its own 6 x 8 positions."""
    model = make(make_cfg, "pairwise")
    seen, embeddings = [], []
    original = model.crf.embeddings

    def scaled(features, sizes, **options):
        embeddings.extend(original(features, sizes)[:2])
        return original(features, sizes, **options)

    def objective(found, *args):
        seen.append(found)
        return pairwise_objective(found, *args)

    monkeypatch.setattr(model.crf, "embeddings", scaled)
    monkeypatch.setattr("videogcrf_det.segmentation.segmentor.pairwise_objective", objective)
    wide = {"image": torch.zeros(3, 48, 192), "sem_seg": torch.full((48, 192), VOID)}
    losses(model, [frame(0)], [wide])
    for found, expected in zip(seen[::2], embeddings, strict=True):  # each of both clips
        assert torch.allclose(found, expected[:1] * 48**0.5)


def test_windows_average_to_the_plain_result_where_they_cover_the_video(make_cfg):
    frames = [frame(n) for n in range(4)]
    model = make(make_cfg, "joint", "INPUT.CLIP.NUM_FRAMES", 4).eval().double()
    with torch.no_grad():
        features = model.backbone(model._images(frames).tensor)
        plain = model.crf(features["res4"], [4], unary=model.unaries(features, None))
        plain = F.interpolate(plain, (48, 64), mode="bilinear", align_corners=False).softmax(1)
    assert torch.allclose(segment(model, frames), plain, atol=1e-5)
    shorter = make(make_cfg, "joint", "INPUT.CLIP.NUM_FRAMES", 2).double()
    assert not torch.allclose(segment(shorter, frames), plain, atol=1e-3)


def test_windows_of_two_are_averaged(make_cfg):
    frames = [frame(n) for n in range(3)]
    model = make(make_cfg, "joint", "INPUT.CLIP.NUM_FRAMES", 2).eval().double()
    with torch.no_grad():
        features = model.backbone(model._images(frames).tensor)
        unary, source = model.unaries(features, None), features["res4"]
        windows = [model.crf(source[k : k + 2], [2], unary=unary[k : k + 2]) for k in (0, 1)]
        middle = (windows[0][1] + windows[1][0]) / 2
        scores = torch.stack([windows[0][0], middle, windows[1][1]])
        expected = F.interpolate(scores, (48, 64), mode="bilinear", align_corners=False).softmax(1)
    assert torch.allclose(segment(model, frames), expected, atol=1e-5)


def test_other_frames_matter_with_the_random_field_alone(make_cfg):
    clips = [[frame(0), frame(1)], [frame(0), frame(7)]]
    for phase, equal in [("unary", True), ("joint", False)]:
        model = make(make_cfg, phase)
        first, second = (segment(model, clip)[0] for clip in clips)
        assert torch.allclose(first, second, atol=1e-4) == equal


def test_scores_can_be_averaged(make_cfg):
    """Every score then is between those of its place in all frames, and labels stay what they
    are where all frames agree."""
    frames = [frame(n) for n in range(3)]
    model = make(make_cfg, "joint", *AVERAGES).eval().double()
    with torch.no_grad():
        features = model.backbone(model._images(frames).tensor)
        unary = model.unaries(features, None)
        scores = model.crf(features["res4"], [3], unary=unary)
    low, high = unary.amin(0), unary.amax(0)
    assert ((low - 1e-9 <= scores) & (scores <= high + 1e-9)).all()
    assert (scores - unary).abs().max() > 0.01 * (high - low).max()
    found = F.interpolate(scores, (48, 64), mode="bilinear", align_corners=False).softmax(1)
    assert torch.allclose(segment(model, frames), found, atol=1e-9)


def test_a_mirrored_video_gives_the_mirrored_result_with_flip(make_cfg):
    frames = [frame(n) for n in range(3)]
    mirrored = [{**f, "image": f["image"].flip(2)} for f in frames]
    for flip in (True, False):
        model = make(make_cfg, "joint", "TEST.FLIP", flip).double()
        found, of_mirrored = segment(model, frames), segment(model, mirrored).flip(3)
        assert torch.allclose(found, of_mirrored, atol=1e-5) == flip


def test_scales_are_averaged(make_cfg):
    frames = [frame(n) for n in range(3)]
    found = {
        scales: segment(make(make_cfg, "joint", "TEST.SCALES", list(scales)).double(), frames)
        for scales in [(1.0,), (1.5,), (1.0, 1.5)]
    }
    assert torch.allclose(found[1.0, 1.5], (found[1.0,] + found[1.5,]) / 2, atol=1e-6)
    assert not torch.allclose(found[1.0,], found[1.5,], atol=1e-3)


def test_results_have_the_size_that_frames_name(make_cfg):
    frames = [frame(n, height=24, width=40) for n in range(2)]
    found = segment(make(make_cfg), frames)
    assert found.shape == (2, 3, 24, 40)
    assert torch.allclose(found.sum(1), torch.ones(2, 24, 40))


def test_padding_does_not_shift_the_result(make_cfg):
    """Frames are padded to multiples of 32 for a feature pyramid."""
    opts = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.RESNETS.RES5_DILATION", 1]
    opts += ["MODEL.RESNETS.OUT_FEATURES", "['res3', 'res4', 'res5']"]
    opts += ["MODEL.FPN.IN_FEATURES", "['res3', 'res4', 'res5']", "MODEL.FPN.OUT_CHANNELS", 8]
    opts += ["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['p3']", "MODEL.SEM_SEG_HEAD.POOL_SCALES", "[]"]
    opts += ["MODEL.VIDEO_GCRF.IN_FEATURES", "['p3']"]
    torch.manual_seed(0)
    model = build_model(make_cfg("MODEL.PHASE", "unary", *opts)).double()
    frames = [frame(n) for n in range(2)]
    # padding is zero once pixels are normalised: frames that already have it, in that colour
    grey = model.pixel_mean.expand(3, 16, 64)
    padded = [
        {**f, "image": torch.cat([f["image"].double(), grey], 1), "height": 64} for f in frames
    ]
    whole = segment(model, padded)
    assert torch.allclose(segment(model, frames), whole[:, :, :48], atol=1e-9)


def test_frames_of_another_size_are_named(make_cfg):
    model = make(make_cfg).eval()
    wider = frame(1, file_name="wide.png", image=torch.zeros(3, 48, 80, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"wide.png has the size \[48, 80\].*before it \[48, 64\]"):
        list(model.segment_video([frame(0), wider]))


def test_labels_that_there_are_not_are_named(make_cfg):
    wrong = frame(0, file_name="street.png")
    wrong["sem_seg"][0, :2] = torch.tensor([3, 17])
    with pytest.raises(InputError, match=r"labels of street.png hold 3, 17, but .* 0 to 2.*255"):
        losses(make(make_cfg), [wrong])


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (["MODEL.PHASE", "all"], "MODEL.PHASE 'all' is none of unary, pairwise, joint"),
        (["MODEL.VIDEO_GCRF.IN_FEATURES", "['p3']"], "no feature 'p3', only res4, res5"),
        (["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['p2']"], "no feature 'p2', only res4, res5"),
        (["MODEL.VIDEO_GCRF.IN_FEATURES", "['res4', 'res5']"], r"'res5'\] is not one feature"),
        (
            ["MODEL.VIDEO_GCRF.LAMBDA", -1.0],
            r"MODEL\.VIDEO_GCRF: LAMBDA must be above 0, got -1",
        ),
        (
            [*AVERAGES, "MODEL.PHASE", "pairwise"],
            r"PAIRWISE average couples each label .* set PHASES.NAMES to \['unary', 'joint'\]",
        ),
        (
            [*AVERAGES, "MODEL.VIDEO_GCRF.FUSION", "residual"],
            r"gives scores as they are: set MODEL.VIDEO_GCRF.FUSION, which is 'residual'",
        ),
        (["TEST.WINDOW_STEP", 4], r"TEST\.WINDOW_STEP must be from 1 to .*_FRAMES = 3, got 4"),
        (["TEST.SCALES", "[]"], r"TEST\.SCALES \[\] are not scales above 0"),
        (["TEST.SCALES", "[1.0, 0.0]"], r"TEST\.SCALES \[1\.0, 0\.0\] are not scales above 0"),
    ],
)
def test_bad_configs(make_cfg, opts, words):
    with pytest.raises(InputError, match=words):
        build_model(make_cfg(*opts))


def test_frames_without_labels_are_named(make_cfg):
    bare = frame(0, file_name="street.png")
    del bare["sem_seg"]
    with pytest.raises(InputError, match=r"street.png has no label for every pixel: name a data"):
        losses(make(make_cfg), [bare])


def test_the_pairwise_phase_trains_nothing_without_a_gradient(make_cfg):
    """Several processes would wait for it."""
    model = make(make_cfg, "pairwise", "MODEL.VIDEO_GCRF.FUSION", "residual")
    sum(losses(model, [frame(0), frame(1)]).values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
