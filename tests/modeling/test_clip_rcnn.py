import itertools
import weakref

import pytest
import torch
from detectron2.utils.events import EventStorage

from tests.modeling.conftest import BASELINE, C4, STOCK
from tests.support.models import couple_for_real
from videogcrf_det import InputError
from videogcrf_det.modeling import VideoGCRFBackbone


@pytest.mark.parametrize("opts", [[], C4])
def test_residual_fusion_starts_as_the_stock_detector(
    make_detector, make_clip, equal_detections, opts
):
    name = ["MODEL.BACKBONE.NAME", "build_resnet_backbone"] if opts else BASELINE
    stock = make_detector(*opts, *STOCK[2:], *name)
    ours = make_detector(*opts)
    ours.load_state_dict(stock.state_dict(), strict=False)
    clips = [make_clip(5, 96, 128), make_clip(2, 70, 101, seed=1)]
    for clip, detections in zip(clips, ours(clips), strict=True):
        with torch.no_grad():
            expected = [stock([frame])[0] for frame in clip["frames"]]
        assert equal_detections(detections, expected)


def test_losses_start_as_those_of_the_stock_detector(make_detector, make_clip):
    stock, ours = make_detector(*STOCK).train(), make_detector().train()
    ours.load_state_dict(stock.state_dict(), strict=False)
    clips = [make_clip(3, 96, 128), make_clip(2, 70, 101, seed=1)]
    with EventStorage():
        torch.manual_seed(0)
        expected = stock([frame for clip in clips for frame in clip["frames"]])
        torch.manual_seed(0)
        losses = ours(clips)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-5), name


def test_clips_of_a_batch_do_not_touch_each_other(make_detector, make_clip, equal_detections):
    """Whatever clip is beside it, and so however much a batch would be padded."""
    model = couple_for_real(make_detector())
    clip = make_clip(3, 96, 128)
    alone = model([clip])[0]
    for other in [make_clip(1, 64, 64, seed=1), make_clip(4, 128, 250, seed=2)]:
        assert equal_detections(model([clip, other])[0], alone)
        assert equal_detections(model([other, clip])[1], alone)


def test_frames_of_different_sizes_within_a_clip(make_detector, make_clip):
    model = couple_for_real(make_detector())
    frames = make_clip(1, 96, 128)["frames"] + make_clip(2, 60, 150, seed=1)["frames"]
    frames[0]["height"], frames[0]["width"] = 192, 256
    sizes = [output["instances"].image_size for output in model([{"frames": frames}])[0]]
    assert sizes == [(192, 256), (60, 150), (60, 150)]


def test_neighbours_change_detections_only_within_the_temporal_context(make_detector, make_clip):
    model = couple_for_real(make_detector("INPUT.CLIP.NUM_FRAMES", 3))
    clip = make_clip(7)
    before = model([clip])[0]
    clip["frames"][0]["image"] = make_clip(1, seed=5)["frames"][0]["image"]
    after = model([clip])[0]
    changed = [
        len(a["instances"]) != len(b["instances"])
        or not torch.allclose(a["instances"].scores, b["instances"].scores, rtol=1e-5)
        for a, b in zip(before, after, strict=True)
    ]
    assert changed == [True, True, True, False, False, False, False]


AVERAGE = [
    *("MODEL.VIDEO_GCRF.PAIRWISE", "average", "MODEL.VIDEO_GCRF.SPATIAL_DIM", 0),
    *("MODEL.VIDEO_GCRF.TEMPORAL_DIM", 8, "MODEL.VIDEO_GCRF.BLOCK_SIZE", 3),
]


@pytest.mark.parametrize(("pairwise", "tolerance"), [([], 1e-4), (AVERAGE, 1e-3)])
def test_whole_video_inference_is_the_average_over_windows(
    make_detector, make_clip, pairwise, tolerance
):
    """Against features coupled window by window and averaged by hand."""
    opts = ["INPUT.CLIP.NUM_FRAMES", 3, "MODEL.VIDEO_GCRF.RTOL", 1e-6, *pairwise]
    model = couple_for_real(make_detector(*opts))
    frames = make_clip(5)["frames"]
    images = model.preprocess_image(frames)
    with torch.no_grad():
        features = model.backbone.bottom_up(images.tensor)
        total, count = torch.zeros_like(features["p3"]), torch.zeros(5, 1, 1, 1)
        for first in range(3):
            window = slice(first, first + 3)
            part = {name: value[window] for name, value in features.items()}
            total[window] += model.backbone.couple(part, [3], images.image_sizes[window])["p3"]
            count[window] += 1
        seen = ((frame, model.preprocess_image([frame])) for frame in frames)
        streamed = [found["p3"] for _, found in model.backbone.infer_video(seen, 3)]
    expected = total / count
    torch.testing.assert_close(torch.cat(streamed), expected, rtol=tolerance, atol=tolerance)
    assert (expected - features["p3"]).abs().max() > 0.1


@pytest.mark.parametrize("opts", [[], BASELINE], ids=["random fields", "baseline"])
def test_the_backbone_sees_frames_in_batches(make_detector, make_clip, equal_detections, opts):
    opts = [*opts, "INPUT.CLIP.NUM_FRAMES", 3, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0]
    model = make_detector(*opts, "TEST.FRAMES_PER_BATCH", 2)
    if isinstance(model.backbone, VideoGCRFBackbone):
        couple_for_real(model)
    seen, read = [], 0

    def frames():
        nonlocal read
        for frame in clip:
            read += 1
            yield frame

    own = getattr(model.backbone, "bottom_up", model.backbone)
    own.register_forward_pre_hook(lambda _, given: seen.append((read, len(given[0]))))
    # a frame of another size is in no batch with the others
    clip = [*make_clip(3)["frames"], *make_clip(2, 64, 96)["frames"], *make_clip(1)["frames"]]
    found = list(model.detect_video(frames()))
    assert seen == [(2, 2), (4, 1), (5, 2), (6, 1)]
    model.frames_per_batch = 1
    assert equal_detections(found, list(model.detect_video(clip)))
    with pytest.raises(InputError, match="FRAMES_PER_BATCH is 0"):
        make_detector(*opts, "TEST.FRAMES_PER_BATCH", 0)


@pytest.mark.parametrize("length", [30, 300])
def test_memory_does_not_grow_with_the_video(make_detector, make_clip, length):
    """Frames are read as they are needed, at most NUM_FRAMES - 1 ahead, and let go of."""
    model = make_detector("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 1.0)
    frame = make_clip(1, 64, 64)["frames"][0]
    alive: set[int] = set()
    read = 0

    def frames():
        nonlocal read
        for number in range(length):
            image = frame["image"].clone()
            alive.add(number)
            weakref.finalize(image, alive.discard, number)
            read += 1
            yield {**frame, "image": image}
            del image

    (results,) = model([{"frames": frames()}])
    assert read == 0
    most_alive = 0
    for given, _ in enumerate(results, start=1):
        assert read - given <= 3
        most_alive = max(most_alive, len(alive))
    assert given == read == length
    assert most_alive <= 6  # a window, the frame given out, the one being read


def test_an_endless_video(make_detector, make_clip):
    model = make_detector()
    frame = make_clip(1, 64, 64)["frames"][0]
    (results,) = model([{"frames": itertools.repeat(frame)}])
    assert len(list(itertools.islice(results, 6))) == 6


def test_a_frame_by_itself_and_a_video_without_frames(make_detector, make_clip, equal_detections):
    model = make_detector()
    frame = make_clip(1)["frames"][0]
    assert equal_detections(model([frame]), model([{"frames": [frame]}])[0])
    assert model([{"frames": []}]) == [[]]


def test_gradients_reach_the_random_field(make_detector, make_clip):
    model = couple_for_real(make_detector()).train()
    with EventStorage():
        sum(model([make_clip(3), make_clip(1, seed=1)]).values()).backward()
    for name, parameter in model.backbone.gcrf.named_parameters():
        assert parameter.grad.abs().max() > 0, name


FREEZE = ["MODEL.VIDEO_GCRF.FREEZE_DETECTOR", True]


def gradients(model, clip):
    """Those of the losses of a clip, by name of the parameter."""
    torch.manual_seed(0)
    with EventStorage():
        sum(model.train()([clip]).values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("opts", [[], C4], ids=["FPN", "C4 with batch norm"])
def test_a_frozen_detector_keeps_what_it_has(make_detector, make_clip, opts):
    model = couple_for_real(make_detector(*opts, *FREEZE))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert all(".gcrf." in name for name in gradients(model, make_clip(2)))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name  # statistics of batches among them


def test_freezing_the_detector_leaves_the_gradients_of_random_fields(make_detector, make_clip):
    frozen, free = (
        gradients(couple_for_real(make_detector(*opts)), make_clip(2)) for opts in (FREEZE, [])
    )
    assert frozen.keys() < free.keys()
    for name, gradient in frozen.items():
        torch.testing.assert_close(gradient, free[name], msg=name)


def test_a_frozen_detector_needs_random_fields(make_detector):
    with pytest.raises(InputError, match="leaves nothing to train"):
        make_detector(*BASELINE, *FREEZE)


def test_stock_rcnn_with_one_clip_a_batch(make_detector, make_clip):
    """The wrapped backbone under GeneralizedRCNN: all images of the batch are one clip."""
    model = couple_for_real(make_detector("MODEL.META_ARCHITECTURE", "GeneralizedRCNN"))
    frames = make_clip(3)["frames"]
    ours = couple_for_real(make_detector("INPUT.CLIP.NUM_FRAMES", 3))
    with torch.no_grad():
        batch = model(frames)
    for a, b in zip(batch, ours([{"frames": frames}])[0], strict=True):
        torch.testing.assert_close(a["instances"].scores, b["instances"].scores)


@pytest.mark.parametrize(("key", "value"), [("INPUT.CLIP.NUM_FRAMES", 0), ("TEST.WINDOW_STEP", 9)])
def test_bad_clip_lengths(make_detector, key, value):
    with pytest.raises(InputError, match=f"{key} must be.*got {value}"):
        make_detector(key, value)


def test_an_indefinite_system_is_named_by_its_keys(make_detector, make_clip):
    opts = ["MODEL.VIDEO_GCRF.SELF_COUPLING", "zero", "MODEL.VIDEO_GCRF.LAMBDA", 1e-6]
    model = couple_for_real(make_detector(*opts))
    with pytest.raises(InputError, match=r"in MODEL\.VIDEO_GCRF: .*SELF_COUPLING psd.*LAMBDA"):
        model([make_clip(3)])
