"""Fields in live models of every meta-architecture."""

import pytest
import torch

from tests.steady.conftest import ARCHITECTURES
from tests.support.models import same, tensors
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf.chain import chain_average
from videogcrf_det.gcrf.chain_field import described, link
from videogcrf_det.modeling.video_model import VideoModel
from videogcrf_det.steady.attach import attach, detach, detect_video
from videogcrf_det.steady.fields import SteadyFields

ALL = [*ARCHITECTURES, "FCOS", "PointRend"]


@pytest.fixture
def fields_of():
    """Fields with random weights and couplings that show."""

    def make(model):
        torch.manual_seed(1)
        fields = SteadyFields.for_model(model, dim=4, conv_dim=4)
        for name in fields:
            torch.nn.init.constant_(fields[name].branch.embed.bias[-1:], -1.0)
        return fields

    return make


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_every_meta_architecture(name, make_model, fields_of, make_frames):
    model, frames = make_model(name), make_frames(3)
    own = model.backbone
    before = [model([frame])[0] for frame in frames]
    attach(model, fields_of(model), latency=1)
    after = list(detect_video(model, frames, batch=2))
    causal = [model([frame])[0] for frame in frames]
    assert len(after) == 3
    assert same(causal[0], before[0])  # nothing came before it
    assert not same(causal[2], before[2])
    assert not same(after[0], before[0])  # the frame after it is heard
    assert detach(model).backbone is own
    assert all(same(model([f])[0], b) for f, b in zip(frames, before, strict=True))


@torch.no_grad()
def test_coupled_features_are_the_exact_average(make_model, fields_of, make_frames):
    model, frames = make_model(), make_frames(4)
    fields = fields_of(model)
    made = [model.backbone(model.preprocess_image([frame]).tensor) for frame in frames]
    features = {name: torch.cat([maps[name] for maps in made]) for name in made[0]}
    expected = {}
    for name, maps in features.items():
        embedding, confidence, *_ = described(fields[name](maps))
        links = link(embedding[:-1], embedding[1:])
        parts = [part.flatten(2)[None] for part in (maps, confidence, links)]
        expected[name] = chain_average(*parts)[0].view_as(maps)
    seen = []
    attach(model, fields, latency=None)
    serve = model.backbone.serving
    model.backbone.serving = lambda ready: seen.append(ready) or serve(ready)
    list(detect_video(model, frames))
    for name, maps in expected.items():
        result = torch.cat([ready[name] for ready in seen])
        torch.testing.assert_close(result, maps, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("latency", [0, 1, 2, 7])
def test_latency_is_the_exact_average_of_what_is_there(latency, make_model, fields_of, make_frames):
    model, frames = make_model(), make_frames(5)
    fields = fields_of(model)

    def run(count, wait):
        attach(model, fields, latency=wait)
        result = list(detect_video(model, frames[:count]))
        detach(model)
        return result

    results = run(5, latency)
    for index in range(5):  # the same video, cut after what the result could see
        cut = run(min(5, index + latency + 1), None)
        close(results[index], cut[index])


def close(first, second):
    a, b = tensors(first), tensors(second)
    assert a["scores"].shape == b["scores"].shape
    torch.testing.assert_close(a["pred_boxes"], b["pred_boxes"], rtol=1e-3, atol=1e-2)


@torch.no_grad()
def test_frame_by_frame_is_latency_0(make_model, fields_of, make_frames):
    model, frames = make_model(), make_frames(4)
    attach(model, fields_of(model), latency=0)
    ahead = list(detect_video(model, frames))
    one_by_one = [model([frame])[0] for frame in frames]
    assert all(same(a, b) for a, b in zip(ahead, one_by_one, strict=True))
    model.backbone.reset()
    assert same(model([frames[0]])[0], ahead[0])  # a new video
    other = make_frames(1, 96, 64)[0]  # of another size: a new video as well
    model.backbone.reset()
    alone = model([other])[0]
    model([frames[0]])
    assert same(model([other])[0], alone)


@torch.no_grad()
@pytest.mark.parametrize("latency", [0, 2])
def test_strength_0_is_the_detector_itself(latency, make_model, fields_of, make_frames):
    model, frames = make_model(), make_frames(4)
    before = [model([frame])[0] for frame in frames]
    attach(model, fields_of(model), latency=latency, strength=0.0)
    assert all(same(a, b) for a, b in zip(detect_video(model, frames), before, strict=True))


@torch.no_grad()
def test_batches_change_nothing_else(make_model, fields_of, make_frames):
    model, frames = make_model(), make_frames(5)
    attach(model, fields_of(model), latency=1)
    for one, many in zip(
        detect_video(model, frames), detect_video(model, frames, batch=3), strict=True
    ):
        close(one, many)


def test_memory_does_not_grow_with_the_video(make_model, fields_of, make_frames):
    model, frames = make_model(), make_frames(2)
    attach(model, fields_of(model), latency=2)
    alive = []

    def endless():
        for index in range(16):
            alive.append(sum(1 for _ in maps_alive()))
            yield frames[index % 2]

    def maps_alive():
        import gc

        return (t for t in gc.get_objects() if isinstance(t, torch.Tensor) and t.dim() == 4)

    assert len(list(detect_video(model, endless()))) == 16
    assert max(alive[10:]) <= max(alive[4:10])


def test_training_is_refused(make_model, fields_of, make_frames):
    model = make_model()
    attach(model, fields_of(model))
    with pytest.raises(InputError, match=r"model\.eval\(\)"):
        model.backbone.train()(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match="detach"):
        attach(model, fields_of(make_model()))


def test_another_detector_is_refused(make_model, fields_of):
    fields = fields_of(make_model())
    other = make_model()
    next(other.backbone.parameters()).data.add_(1e-3)
    with pytest.raises(InputError, match="other weights"):
        attach(other, fields)
    with pytest.raises(InputError, match=r"p2 \(16\)"):
        attach(make_model("C4"), fields)
    with pytest.raises(InputError, match="no backbone with named features"):
        attach(torch.nn.Linear(2, 2), fields)


@torch.no_grad()
def test_a_video_model_takes_videos(make_model, fields_of, make_frames):
    model, frames = make_model(), make_frames(3)
    plain = [model([frame])[0] for frame in frames]
    (outputs,) = VideoModel(model)([{"frames": iter(frames)}])
    assert all(same(a, b) for a, b in zip(outputs, plain, strict=True))
    attach(model, fields_of(model))
    unlike = [frames[0], make_frames(1, 96, 64)[0]]
    with pytest.raises(InputError, match="differ in size"):
        list(VideoModel(model).detect_video(unlike))


def test_files_hold_no_code(tmp_path, make_model, fields_of):
    fields = fields_of(make_model())
    path = tmp_path / "fields.pth"
    fields.save(path)
    again = SteadyFields.load(path)
    assert again.fingerprint == fields.fingerprint
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in fields.state_dict().items())
    assert path.stat().st_size < 1e5

    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"format": Evil()}, path)
    with pytest.raises(InputError, match="holds no fields"):
        SteadyFields.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="holds no fields"):
        SteadyFields.load(path)
    with pytest.raises(InputError, match="there are no fields at"):
        SteadyFields.load(tmp_path / "absent.pth")
