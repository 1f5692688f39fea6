"""The network: losses of labels that are missing in part, clips, inference frame by frame."""

import pytest
import torch
from torch.nn import functional as F
from video_depth import DepthTrainer, on_videos
from video_depth.model import LOG_DEPTH, VARIANCE_WEIGHT

from videogcrf_det import InputError
from videogcrf_det.steady.fields import SteadyFields


def clip_of(cfg, index=0):
    return next(iter(DepthTrainer.build_train_loader(cfg)))[index]


def test_the_loss_is_that_of_known_pixels(make_cfg, make_model):
    """Against sums by hand, of the average of the whole clip and of the past."""
    cfg = make_cfg("DATALOADER.NUM_WORKERS", 0)
    model = make_model(cfg).train()
    clip = clip_of(cfg)
    for frame in clip["frames"]:
        frame["depth"] = frame["depth"].clone()
        frame["depth"][:20] = 0
    losses = model.losses([clip["frames"]])
    images = model._images(clip["frames"]).tensor
    whole, past = model._coupled(model.backbone(images), images)
    depth, variance = [], []
    for made in (whole, past):
        terms, likelihoods = [], []
        for v, frame in enumerate(clip["frames"]):
            known = frame["depth"] > 0
            height, width = known.shape
            log_depth, spread = (
                F.interpolate(
                    maps[v : v + 1], images.shape[2:], mode="bilinear", align_corners=False
                )[0, 0, :height, :width][known]
                for maps in (made[LOG_DEPTH], made["log_depth_variance"].log())
            )
            error = log_depth - frame["depth"][known].log()
            terms.append(error.abs())
            likelihoods.append(-torch.distributions.Normal(0, (spread / 2).exp()).log_prob(error))
        depth.append(torch.cat(terms).mean())
        normal = torch.log(torch.tensor(2 * torch.pi)) / 2
        variance.append(torch.cat(likelihoods).mean() - normal)
    torch.testing.assert_close(losses["loss_depth"], torch.stack(depth).mean())
    torch.testing.assert_close(
        losses["loss_variance"],
        VARIANCE_WEIGHT * torch.stack(variance).mean(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_frames_without_depth_are_context(make_cfg, make_model):
    cfg = make_cfg()
    model = make_model(cfg).train()
    clip = clip_of(cfg)["frames"]
    without = [clip[0], {k: v for k, v in clip[1].items() if k != "depth"}, clip[2]]
    nothing = [{k: v for k, v in frame.items() if k != "depth"} for frame in clip]
    some = model.losses([without])
    assert some["loss_depth"] > 0
    assert some["loss_depth"] != model.losses([clip])["loss_depth"]
    none = model.losses([nothing])
    assert none["loss_depth"] == 0
    sum(none.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_gradients_reach_links_confidences_and_the_unit(make_cfg, make_model):
    cfg = make_cfg()
    for coupled in (True, False):
        model = make_model(make_cfg("MODEL.VIDEO_GCRF.COUPLED", coupled)).train()
        sum(model.losses([clip_of(cfg)["frames"]]).values()).backward()
        embed = model.chain[LOG_DEPTH].branch.embed.weight.grad.abs().sum((1, 2, 3))
        assert (embed[:-1].max() > 0) == coupled  # links
        assert embed[-1] > 0  # the confidence
        assert model.chain.log_units[LOG_DEPTH].grad.abs() > 0
        assert model.backbone.head.predictor.weight.grad.abs().max() > 0


def videos_of(cfg, model):
    loader = DepthTrainer.build_test_loader(cfg, cfg.DATASETS.TEST[0])
    return [list(model([video])[0]) for batch in loader for video in batch]


@pytest.mark.parametrize("latency", [0, 1, -1])
def test_inference_is_the_chain_of_the_frames(make_cfg, make_model, latency):
    cfg = make_cfg("TEST.LATENCY", latency)
    model = make_model(cfg)
    with on_videos(cfg, model) as videos:
        found = videos_of(cfg, videos)[0]
    loader = DepthTrainer.build_test_loader(cfg, cfg.DATASETS.TEST[0])
    frames = list(next(iter(loader))[0]["frames"])
    with torch.no_grad():
        images = model._images(frames).tensor
        features = model.backbone(images)
        for v, result in enumerate(found):
            last = len(frames) if latency == -1 else min(v + latency + 1, len(frames))
            part = {name: maps[:last] for name, maps in features.items()}
            made, _ = model._coupled(part, images[:last])
            size = frames[v]["height"], frames[v]["width"]
            log_depth, variance = (
                F.interpolate(made[name][v : v + 1], (64, 64), mode="bilinear")[0, 0, :48, :64]
                for name in (LOG_DEPTH, "log_depth_variance")
            )
            assert size == (48, 64)
            torch.testing.assert_close(result["depth"], log_depth.exp(), rtol=1e-4, atol=1e-4)
            assert result["variance"].shape == size
            assert (result["variance"] > 0.3 * variance.min()).all()
    assert type(model.backbone).__name__ == "DepthBackbone"  # as it was


def test_without_coupling_depth_is_that_of_single_frames(make_cfg, make_model):
    plain = make_model(make_cfg("MODEL.DEPTH_HEAD.CHAIN", "False"))
    results = {}
    for opts in ([], ["MODEL.VIDEO_GCRF.COUPLED", "False"], ["MODEL.VIDEO_GCRF.STRENGTH", "0.0"]):
        cfg = make_cfg(*opts)
        model = make_model(cfg)
        model.backbone.load_state_dict(plain.backbone.state_dict())
        with on_videos(cfg, model) as videos:
            results[str(opts)] = [each["depth"] for each in videos_of(cfg, videos)[0]]
    with on_videos(make_cfg(), plain) as videos:
        alone = videos_of(make_cfg(), videos)[0]
    assert "variance" not in alone[0]
    coupled, *others = results.values()
    for depths in others:
        assert all(torch.equal(a, b["depth"]) for a, b in zip(depths, alone, strict=True))
    assert not any(torch.allclose(a, b["depth"]) for a, b in zip(coupled, alone, strict=True))


def test_fitted_fields_couple_log_depth_alone(make_cfg, make_model):
    model = make_model(make_cfg("MODEL.DEPTH_HEAD.CHAIN", "False"))
    fields = SteadyFields.for_model(model)
    assert list(fields) == [LOG_DEPTH]
    assert fields.channels == {LOG_DEPTH: 32}
    fields.check(model)
    torch.nn.init.normal_(model.backbone.head.predictor.bias)  # the head belongs to it
    with pytest.raises(InputError, match="other weights"):
        fields.check(model)


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (["MODEL.DEPTH_HEAD.IN_FEATURES", "['p1', 'p2']"], "p1"),
        (["MODEL.DEPTH_HEAD.TYPICAL", "0.0"], "TYPICAL"),
        (["MODEL.VIDEO_GCRF.FREEZE_DETECTOR", "True"], "FREEZE_DETECTOR"),
        (["MODEL.VIDEO_GCRF.MOTION", "flow"], "MOTION"),
        (["MODEL.VIDEO_GCRF.LAMBDA", "2.0"], "LAMBDA"),
        (["MODEL.MASK_ON", "True"], "MASK_ON"),
    ],
)
def test_what_a_config_cannot_say(make_cfg, opts, said):
    with pytest.raises(InputError, match=said):
        DepthTrainer.build_model(make_cfg(*opts))
