"""Motion: moved maps, flow that can be trusted, the chain along whole-cell motion."""

import threading

import cv2
import numpy as np
import pytest
import torch

from tests.support.pictures import scene
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf.chain import chain_average
from videogcrf_det.gcrf.chain_field import link
from videogcrf_det.motion.estimate import MotionEstimator, consistent, motion_from
from videogcrf_det.motion.flow import DISFlow, FlowFolder
from videogcrf_det.motion.warp import Motion, moved
from videogcrf_det.steady.attach import attach, detect_video
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.stream import steady_clip


def shift(cells, height, width):
    """A way of so many cells to the left, everywhere."""
    way = torch.zeros(1, 2, height, width)
    way[:, 0] = -cells / width
    return way


def test_maps_are_moved_by_whole_cells():
    maps = torch.randn(1, 3, 5, 8)
    result = moved(maps, shift(2, 5, 8))
    torch.testing.assert_close(result[..., 2:], maps[..., :-2], rtol=1e-4, atol=1e-5)
    assert moved(maps, None) is maps


def test_along_whole_cell_motion_the_chain_is_exact():
    """Content that moves one cell a frame is averaged as if it stood still."""
    torch.manual_seed(0)
    frames, height, width = 4, 3, 12
    still = torch.randn(frames, 6, height, width)
    moving = torch.stack([frame.roll(v, dims=2) for v, frame in enumerate(still)])
    fields = SteadyFields({"p2": 6}, dim=3, num_convs=0)
    motion = Motion(shift(1, height, width), -shift(1, height, width))
    pictures = torch.zeros(frames, 3, 4 * height, 4 * width)
    with torch.no_grad():
        described = fields.describe({"p2": moving}, pictures)
        result, _ = steady_clip({"p2": moving}, described, [None] + [motion] * (frames - 1))
        embedding, confidence, *_ = fields.describe({"p2": still}, pictures)["p2"]
        parts = (still, confidence, link(embedding[:-1], embedding[1:]))
        expected = chain_average(*(part.flatten(2)[None] for part in parts))[0]
    expected = expected.view_as(still)
    inside = slice(frames, width - frames)  # where nothing comes in from outside
    for v in range(frames):
        back = result["p2"][v].roll(-v, dims=2)
        torch.testing.assert_close(
            back[..., inside], expected[v][..., inside], rtol=1e-3, atol=1e-4
        )


def test_flow_finds_where_things_were():
    picture = scene(96, 128)
    flow = DISFlow()(picture, np.roll(picture, 3, axis=1))
    assert np.median(flow[..., 0]) == pytest.approx(-3, abs=0.3)
    assert np.median(flow[..., 1]) == pytest.approx(0, abs=0.3)
    assert not DISFlow()(picture[:8], picture[:8]).any()


def test_what_does_not_lead_home_is_no_motion():
    there = np.zeros((4, 6, 2), np.float32)
    there[..., 0] = 2
    back = -there
    back[:, 4:] = 5
    kept = consistent(there, back)
    assert kept[:, :2].all()
    assert not kept[:, 2:4].any()  # they end where the way back leads elsewhere


def test_motion_between_pictures():
    picture = scene(96, 128)
    estimator = MotionEstimator(DISFlow())

    def image(pixels):
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 255

    assert estimator(image(picture)) is None
    motion = estimator(image(np.roll(picture, 4, axis=1)))
    assert motion.backward[0, 0].median() == pytest.approx(-4 / 128, abs=0.01)
    assert motion.forward[0, 0].median() == pytest.approx(4 / 128, abs=0.01)
    assert motion.backward_at(torch.Size([24, 32])).shape == (1, 2, 24, 32)
    estimator.reset()
    assert estimator(image(picture)) is None
    assert motion_from("") is None


@torch.no_grad()
def test_motion_is_estimated_while_the_backbone_runs(make_model, make_frames):
    done, waited = threading.Event(), []
    dis = DISFlow()

    def flow(previous, current):
        waited.append(done.wait(60))
        return dis(previous, current)

    model = attach(make_model(), motion=MotionEstimator(flow))
    steady = model.backbone
    steady.backbone.register_forward_hook(lambda *_: done.set())
    images = torch.cat([steady.images_of(model, frame) for frame in make_frames(3)])
    found = [motion for _, _, motion in steady.steps(images)]
    assert waited == [True] * 4
    alone = MotionEstimator(dis)
    expected = [alone(picture[None]) for picture in steady.pictures(images)]
    assert found[0] is expected[0] is None
    for ours, its in zip(found[1:], expected[1:], strict=True):
        assert torch.equal(ours.backward, its.backward)
        assert torch.equal(ours.forward, its.forward)


@torch.no_grad()
def test_what_goes_wrong_with_a_flow_is_heard_of(make_model, make_frames, tmp_path):
    for name in ("backward", "forward"):
        (tmp_path / name).mkdir()
    model = attach(make_model(), motion=MotionEstimator(FlowFolder(tmp_path)))
    with pytest.raises(InputError, match=r"00001\.flo or \.npy is not there"):
        list(detect_video(model, make_frames(2), batch=2))


def test_flow_of_another_program(tmp_path):
    frames = [scene(32, 48)] * 2
    with pytest.raises(InputError, match="has no folder 'backward'"):
        FlowFolder(tmp_path)
    for name, value in (("backward", -1.0), ("forward", 1.0)):
        (tmp_path / name).mkdir()
        flow = np.full((16, 24, 2), value, np.float32)
        cv2.writeOpticalFlow(str(tmp_path / name / "00001.flo"), flow)
        np.save(tmp_path / name / "00002.npy", 2 * flow)
    folder = FlowFolder(tmp_path)
    for expected in (-2.0, 2.0, -4.0, 4.0):  # twice the size of the files: twice the way
        assert np.allclose(folder(*frames), expected)
    with pytest.raises(InputError, match=r"00003\.flo or \.npy is not there"):
        folder(*frames)
    folder.reset()
    np.save(tmp_path / "backward" / "00001.npy", flow)
    (tmp_path / "backward" / "00001.flo").write_bytes(b"broken")
    with pytest.raises(InputError, match="holds no flow"):
        folder(*frames)
