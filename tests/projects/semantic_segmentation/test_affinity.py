import itertools
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.reference import reference_coupling, reference_matrix
from tests.support.tiny import COLOURS, CONFIG, NAMES, VOID, label_map, make_weights
from videogcrf_det import InputError
from videogcrf_det.affinity.clip import Clip, clip_of_dataset, clip_of_video
from videogcrf_det.affinity.couplings import cell_couplings
from videogcrf_det.affinity.grid import HeatRow
from videogcrf_det.affinity.visualize import visualize_affinity
from videogcrf_det.gcrf import VideoGCRF
from videogcrf_det.predictor import model_input
from videogcrf_det.segmentation.affinity import choose, describe, infer
from videogcrf_det.segmentation.drawing import Palette, draw_labels, palette_for
from videogcrf_det.segmentation.predictor import SemanticPredictor

PALETTE = Palette(NAMES, COLOURS)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"neighbourhood": (1,), "lam": 0.7},
        {"self_coupling": "zero", "lam": 30.0, "solver": "direct"},
        {"spatial_dim": 0},
        {"temporal_dim": 0},
    ],
)
def test_couplings_of_labels_are_those_of_the_inference(options):
    """By H, written down from Eq. 2 over frames, labels and positions."""
    torch.manual_seed(0)
    frames, labels, height, width = 3, 4, 2, 5
    options = {"spatial_dim": 3, "temporal_dim": 2, "conv_dim": 4, **options}
    field = VideoGCRF.build(6, num_labels=labels, **options).requires_grad_(False)
    for branch in filter(None, (field.field.spatial, field.field.temporal)):
        torch.nn.init.normal_(branch.embed.weight, std=1.0)
    unary = torch.zeros(frames, labels, height, width)
    terms = field.terms(torch.randn(frames, 6, height, width), unary=unary)
    weights = reference_coupling(
        frames, options.get("neighbourhood", ()), options.get("self_coupling", "psd")
    )
    lam = options.get("lam", 1.0)
    matrix = reference_matrix(
        *(e if e is None else e[None] for e in terms.embeddings[:2]), weights, lam
    )[0]
    inverse = np.linalg.inv(matrix)
    shape = (frames, labels, height, width)
    for v, label, cell in itertools.product(range(frames), (0, 2), [(0, 0), (1, 3)]):
        found = cell_couplings(field.field, terms, v, cell, label)
        index = np.ravel_multi_index((v, label, *cell), shape)
        unit = np.zeros((frames, height, width))
        unit[v, cell[0], cell[1]] = 1
        assert (found.spatial is None) == (options["spatial_dim"] == 0)
        assert (found.temporal is None) == (options["temporal_dim"] == 0)
        row = lam * unit + sum(part for part in found[:2] if part is not None)
        np.testing.assert_allclose(row, matrix[index].reshape(shape)[:, label], atol=1e-5)
        influence = unit - lam * inverse[index].reshape(shape)[:, label]
        np.testing.assert_allclose(found.influence, influence, atol=1e-5)


@pytest.fixture
def described(make_cfg, room):
    """The model, the clip, and the plot's grid and table."""

    def describe_point(point=None, label=None, source=None, opts=(), frame=4):
        cfg = make_cfg(*opts)
        model = SemanticPredictor(cfg).model
        if source is None:
            clip = clip_of_dataset(cfg, room, None, frame)
        else:
            clip = clip_of_video(cfg, source, frame)
        inputs = [model_input(cfg, picture[:, :, ::-1]) for picture in clip.pictures]
        grid, table = describe(model, clip, inputs, palette_for(cfg), point, label)
        return model, clip, inputs, grid, table

    return describe_point


def titles(grid):
    return [row.title for row in grid.rows]


def test_plot(described):
    model, clip, inputs, grid, table = described(point=(30, 30))
    assert titles(grid) == [
        *["Input", "Ground truth", "Spatial coupling", "Temporal coupling", "Influence"],
        *["Unary", "Inferred", "Change"],
    ]
    rows = {row.title: row for row in grid.rows}
    assert grid.title == "box at (30, 30) in room, frame 4"
    assert (grid.captions, grid.reference) == (["frame 3", "frame 4", "frame 5"], 1)
    assert grid.legend == list(zip(NAMES, COLOURS, strict=True))
    assert "a high score of box lowers that of box" in grid.footer

    # decisions are the model's own, with the random field and without
    for title, phase in (("Unary", "unary"), ("Inferred", "joint")):
        model.phase = phase
        outputs = list(model.segment_video(inputs))
        for index, output in enumerate(outputs):
            labels = output["sem_seg"].argmax(0).numpy()
            drawn = draw_labels(clip.pictures[index], labels, PALETTE, opacity=0.75)
            np.testing.assert_array_equal(rows[title].pictures[index], drawn)
    drawn = draw_labels(clip.pictures[0], label_map(3), PALETTE, opacity=0.75)
    np.testing.assert_array_equal(rows["Ground truth"].pictures[0], drawn)

    # maps by hand: frames of 64 x 48 pixels, cells of 8 x 8
    scores = infer(model, inputs)
    assert scores.terms.unary.shape == (3, 3, 6, 8)
    cell = (30 // 8, 30 // 8)
    couplings = cell_couplings(model.crf.field, scores.terms, 1, cell, NAMES.index("box"))
    mask = label_map(3) == 1
    np.testing.assert_array_equal(grid.outlines[0], mask)
    shown = rows["Temporal coupling"].maps[0]
    expected = 48 * couplings.temporal[0].repeat(8, 0).repeat(8, 1)
    np.testing.assert_allclose(shown, expected, rtol=1e-5)
    share = np.abs(expected)[mask].sum() / np.abs(expected).sum()
    assert rows["Temporal coupling"].notes[0].startswith(f"{share:.0%} on {mask.mean():.0%}")
    line = next(line for line in table.splitlines() if line.startswith("temporal"))
    assert line.split()[2] == f"{share:.1%}"
    change = (scores.inferred - scores.terms.unary)[2, 1].numpy().repeat(8, 0).repeat(8, 1)
    np.testing.assert_allclose(rows["Change"].maps[2], change, rtol=1e-5)
    assert rows["Change"].signed
    assert all(row.signed for row in grid.rows if isinstance(row, HeatRow))


def test_another_label_at_the_point(described):
    box, ball = (described(point=(30, 30), label=label)[3] for label in ("box", "ball"))
    assert ball.title.startswith("ball at (30, 30)")
    np.testing.assert_array_equal(ball.outlines[1], label_map(4) == 2)
    for a, b in zip(box.rows[2:5], ball.rows[2:5], strict=True):
        assert (a.maps[1] != b.maps[1]).any()


def test_averages_have_one_coupling_for_all_labels(described, make_cfg, tmp_path):
    opts = ["MODEL.VIDEO_GCRF.PAIRWISE", "average", "MODEL.VIDEO_GCRF.SPATIAL_DIM", 0]
    opts += ["MODEL.VIDEO_GCRF.BLOCK_SIZE", 0]
    make_weights(make_cfg(*opts), tmp_path / "averages.pth")
    opts += ["MODEL.WEIGHTS", str(tmp_path / "averages.pth")]
    grids = [described(point=(30, 30), label=label, opts=opts)[3] for label in ("box", "ball")]
    for grid in grids:
        assert titles(grid)[2:4] == ["Temporal coupling", "Influence"]
        assert "of all labels alike" in grid.footer
    for a, b in zip(*(grid.rows[2:4] for grid in grids), strict=True):
        np.testing.assert_array_equal(a.maps, b.maps)
    assert (grids[0].rows[-1].maps[1] != grids[1].rows[-1].maps[1]).any()


def test_a_video_without_annotations(described, frames_folder):
    model, clip, inputs, grid, table = described(point=(30, 30), source=frames_folder)
    assert "Ground truth" not in titles(grid)
    inferred = [output["sem_seg"].argmax(0).numpy() for output in model.segment_video(inputs)]
    label = inferred[clip.reference][30, 30]
    assert grid.title.startswith(f"{NAMES[label]} at (30, 30) in frames")
    for mask, labels in zip(grid.outlines, inferred, strict=True):
        np.testing.assert_array_equal(mask, labels == label)
    assert "area of the label" in table


def clip_of(shape=(48, 64)):
    return Clip("room", [7, 8], 0, [np.zeros((*shape, 3), np.uint8)] * 2, [])


def test_the_point_and_the_label():
    known, inferred = label_map(3), np.full((48, 64), 1)
    arguments = (PALETTE, known, inferred)
    # the label at a point, or where nothing is annotated the inferred one
    assert choose(clip_of(), (50, 38), None, *arguments) == ((50, 38), 2)
    assert choose(clip_of(), (50, 2), None, *arguments) == ((50, 2), 1)
    assert choose(clip_of(), (50, 38), "floor", *arguments) == ((50, 38), 0)
    # the middle of a label
    x, y = choose(clip_of(), None, "box", *arguments)[0]
    assert abs(x - 19.5) <= 1
    assert abs(y - 27.5) <= 1
    # the one that covers least, but not next to nothing
    assert choose(clip_of(), None, None, *arguments) == ((50, 38), 2)
    known = np.where(known == 2, 0, known)
    known[40, 40] = 2
    assert choose(clip_of(), None, None, PALETTE, known, inferred)[1] == 1
    with pytest.raises(InputError, match="frame 7 of 'room' shows no label"):
        choose(clip_of(), None, None, PALETTE, np.full((48, 64), VOID), inferred)
    with pytest.raises(InputError, match="no ball is in frame 7 of 'room'"):
        choose(clip_of(), None, "ball", PALETTE, label_map(3) % 2, inferred)


@pytest.mark.parametrize(
    ("options", "opts", "sentence"),
    [
        ({"label": "cat"}, [], "--label cat is none of floor, box, ball"),
        ({"point": (64, 0)}, [], r"--point 64,0 is outside frame 4 of 'room'.* 64 x 48 pixels"),
        ({"frame": 8}, [], "--frame 8 is not in .*: its frames are 0 to 7"),
        ({"video": "nobody"}, [], "has no video 'nobody': use one of room"),
        ({"source": "a.mp4", "video": "room"}, [], "--input names a video"),
        ({"output": "picture.xyz"}, [], r"picture\.xyz names no picture"),
        ({}, ["MODEL.PHASE", "unary"], "MODEL.PHASE unary has no random field"),
        ({}, ["MODEL.WEIGHTS", ""], "MODEL.WEIGHTS is empty"),
    ],
)
def test_bad_input_is_one_sentence(make_cfg, tmp_path, options, opts, sentence):
    output = tmp_path / options.get("output", "out.png")
    with pytest.raises(InputError, match=sentence) as error:
        visualize_affinity(make_cfg(*opts), **{**options, "output": output})
    assert "\n" not in str(error.value)
    assert not output.exists()


def test_the_tool(tiny, tmp_path, monkeypatch, capsys):
    output = tmp_path / "ball.png"
    words = ["--config-file", CONFIG, "--output", output, "--label", "ball", "--opts", *tiny]
    monkeypatch.setattr(sys, "argv", ["visualize_affinity.py", *map(str, words)])
    path = "tools/visualize_affinity.py"
    runpy.run_path(path, run_name="__main__")
    out = capsys.readouterr().out
    assert "area of the label" in out
    assert f"wrote {output}" in out
    with Image.open(output) as picture:
        assert np.asarray(picture).std() > 10
