import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, build_model
from detectron2.structures import ImageList, Instances
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from torch import nn

from tests.conftest import CONFIG
from tests.support.reference import reference_coupling, reference_matrix
from videogcrf_det import InputError
from videogcrf_det.affinity.clip import (
    Clip,
    centre_point,
    choose_point,
    clip_of_dataset,
    clip_of_video,
    instance_at,
)
from videogcrf_det.affinity.couplings import cells_of_pixels, point_affinity
from videogcrf_det.affinity.grid import Grid, HeatRow, PictureRow, draw_grid
from videogcrf_det.affinity.visualize import describe, visualize_affinity
from videogcrf_det.data import VideoDatasetMapper, clip_indices, load_videos
from videogcrf_det.drawing.predictions import Annotated
from videogcrf_det.engine import build_cfg
from videogcrf_det.modeling import VideoGCRFBackbone
from videogcrf_det.predictor import model_input

STRIDE = 8


class Patches(Backbone):
    """Features of patches of 8 x 8 pixels."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, images):
        return {"patches": self.conv(images)}

    def output_shape(self):
        return {"patches": ShapeSpec(channels=6, stride=STRIDE)}


def random_backbone(**options):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, kernel_size=STRIDE, stride=STRIDE)
    sizes = {} if options.get("pairwise") == "average" else {"spatial_dim": 4, "temporal_dim": 3}
    options = {**sizes, "conv_dim": 4, **options}
    backbone = VideoGCRFBackbone(Patches(conv), ["patches"], **options).requires_grad_(False)
    for name, parameter in backbone.gcrf.named_parameters():
        if "log" not in name:
            nn.init.normal_(parameter, std=0.5)  # strong couplings
    return backbone.eval()


def random_images():
    """Three frames of 21 x 44 pixels, 3 x 6 cells, padded to 4 x 7."""
    torch.manual_seed(1)
    images = torch.zeros(3, 3, 32, 56)
    images[:, :, :21, :44] = torch.randn(3, 3, 21, 44)
    return ImageList(images, [(21, 44)] * 3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"neighbourhood": (1,)},
        {"distance_decay": 1.5, "lam": 0.7},
        {"self_coupling": "zero", "lam": 20.0},
        {"spatial_dim": 0},
        {"temporal_dim": 0},
    ],
)
def test_couplings_are_those_of_the_inference(options):
    """By the equations that the detector's features solve, and by H written down from Eq. 2."""
    backbone = random_backbone(fusion="replace", solver="direct", **options)
    images = random_images()
    features = backbone.bottom_up(images.tensor)
    unary = features["patches"]
    lam = options.get("lam", 1.0)
    solution = backbone(images.tensor, [3], images.image_sizes)["patches"] / lam

    weights = reference_coupling(3, options.get("neighbourhood", ()), "zero")
    if "distance_decay" in options:
        frames = np.arange(3)
        weights = weights * np.exp(-abs(frames[:, None] - frames) / options["distance_decay"])
    if options.get("self_coupling") != "zero":
        weights += max(0, -np.linalg.eigvalsh(weights)[0]) * np.eye(3)
    embeddings = backbone.terms("patches", features, images.image_sizes).embeddings
    flat = [part if part is None else part[None] for part in embeddings[:2]]
    matrix = reference_matrix(*flat, weights, lam)[0]
    inverse = np.linalg.inv(matrix)

    for reference, cell in [(0, (0, 0)), (1, (2, 5)), (2, (1, 3))]:
        affinity = point_affinity(backbone, images, "patches", reference, cell)
        assert (affinity.spatial is None) == (options.get("spatial_dim") == 0)
        assert (affinity.temporal is None) == (options.get("temporal_dim") == 0)
        unit = np.zeros((3, 4, 7))
        unit[reference, cell[0], cell[1]] = 1
        row = lam * unit
        for part in (affinity.spatial, affinity.temporal):
            row = row if part is None else row + part
        index = unit.argmax()
        np.testing.assert_allclose(row.ravel(), matrix[index], atol=1e-5)
        at_point = torch.einsum("vhw,vchw->c", torch.from_numpy(row).float(), solution)
        torch.testing.assert_close(
            at_point, unary[reference][:, cell[0], cell[1]], rtol=1e-3, atol=1e-4
        )
        influence = unit.ravel() - lam * inverse[index]
        np.testing.assert_allclose(affinity.influence.ravel(), influence, atol=1e-5)


AVERAGE = {
    "pairwise": "average",
    "dim": 4,
    "block_size": 3,
    "neighbourhood": (1,),
    "lam": 0.3,
}


@pytest.mark.parametrize("options", [{"neighbourhood": (1,), "lam": 0.3}, AVERAGE])
def test_influence_is_what_the_change_of_a_cell_is_made_of(options):
    backbone = random_backbone(fusion="replace", solver="direct", **options)
    images = random_images()
    unary = backbone.bottom_up(images.tensor)["patches"]
    change = unary - backbone(images.tensor, [3], images.image_sizes)["patches"]
    for reference, cell in [(0, (0, 0)), (1, (2, 5)), (2, (1, 3))]:
        affinity = point_affinity(backbone, images, "patches", reference, cell)
        influence = torch.from_numpy(affinity.influence)
        made = torch.einsum("vhw,vchw->c", influence, unary)
        expected = change[reference][:, cell[0], cell[1]]
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
        assert expected.abs().max() > 1e-2
        assert not influence[:, 3:].any()  # padding
        assert not influence[:, :, 6:].any()


def test_couplings_of_averages():
    backbone = random_backbone(**AVERAGE)
    images = random_images()
    terms = backbone.terms("patches", backbone.bottom_up(images.tensor), images.image_sizes)
    maps = terms.embeddings.map(lambda part: part.unflatten(2, (4, 7)))
    temporal = maps[1].numpy()
    affinity = point_affinity(backbone, images, "patches", 1, (1, 2))
    assert affinity.spatial is None
    weights = reference_coupling(3, (1,), "psd")[1]
    expected = sum(temporal[1, d, 1, 2] * weights[:, None, None] * temporal[:, d] for d in range(4))
    expected[:, 3:] = expected[:, :, 3:] = 0  # of other blocks
    np.testing.assert_allclose(affinity.temporal, expected, atol=1e-6)
    trusted = maps[2][:, 0].numpy()
    inside = trusted > 0
    assert inside.any()
    np.testing.assert_allclose(np.exp(affinity.trust[inside]), trusted[inside], rtol=1e-5)


@pytest.mark.parametrize("fusion", ["replace", "residual"])
def test_features_before_and_after(fusion):
    backbone = random_backbone(fusion=fusion)
    images = random_images()
    unary = backbone.bottom_up(images.tensor)["patches"]
    output = backbone(images.tensor, [3], images.image_sizes)["patches"]
    affinity = point_affinity(backbone, images, "patches", 0, (0, 0))
    norm = unary.square().sum(dim=1).sqrt()
    change = (output - unary).square().sum(dim=1).sqrt()
    np.testing.assert_allclose(affinity.unary, norm, rtol=1e-5)
    np.testing.assert_allclose(affinity.change, 100 * change / norm, rtol=1e-3, atol=1e-3)
    backbone.gcrf["patches"].fusion = "replace"
    inferred = backbone(images.tensor, [3], images.image_sizes)["patches"]
    np.testing.assert_allclose(affinity.inferred, inferred.square().sum(dim=1).sqrt(), rtol=1e-5)


def test_embeddings_of_colours_find_the_object_in_every_frame():
    """A red square that moves, a blue one that stays, on green."""
    average = nn.AvgPool2d(STRIDE)
    backbone = VideoGCRFBackbone(
        Patches(lambda images: average(images).repeat(1, 2, 1, 1)),
        ["patches"],
        spatial_dim=6,
        temporal_dim=6,
        num_convs=0,
    ).requires_grad_(False)
    for branch in (backbone.gcrf["patches"].field.spatial, backbone.gcrf["patches"].field.temporal):
        branch.embed.weight.copy_(torch.eye(6)[:, :, None, None])
    images = torch.zeros(3, 3, 48, 80)
    images[:, 1] = 1
    red = torch.zeros(3, 6, 10, dtype=torch.bool)
    for frame in range(3):
        red[frame, 1:4, 2 * frame : 2 * frame + 3] = True
    blue = torch.zeros(6, 10, dtype=torch.bool)
    blue[4:, 7:] = True
    for frame in range(3):
        for where, colour in ((red[frame], 0), (blue, 2)):
            pixels = where.repeat_interleave(8, 0).repeat_interleave(8, 1)
            images[frame, :, pixels] = torch.eye(3)[colour][:, None]
    clip = ImageList(images, [(48, 80)] * 3)
    affinity = point_affinity(backbone, clip, "patches", 1, (2, 3))
    red, blue = red.numpy(), blue.numpy()
    for frame in range(3):
        maps = [affinity.temporal[frame], affinity.influence[frame]]
        for values in [*maps, affinity.spatial[frame]] if frame == 1 else maps:
            assert red[frame].ravel()[values.argmax()]
            assert values[red[frame]].min() > 0
            assert values[~red[frame]].max() < 0  # other colours: the opposite sign
    assert not affinity.spatial[[0, 2]].any()


@pytest.mark.parametrize(("height", "width"), [(51, 77), (97, 61), (48, 64), (240, 427)])
def test_pixels_lie_in_the_cells_that_see_them(small, height, width):
    """One bright pixel, resized as for the test, is where the light's centre is afterwards."""
    cfg = build_cfg(CONFIG, [*small, "INPUT.MAX_SIZE_TEST", "100"])
    compared = 0
    margin = 10  # the light of pixels at the border spreads to one side only
    for step in range(max(height, width)):
        pixel = [margin + step % (length - 2 * margin) for length in (height, width)]
        picture = np.zeros((height, width, 3), np.uint8)
        picture[tuple(pixel)] = 255
        image = model_input(cfg, picture[:, :, ::-1])["image"][0].double().numpy()
        for axis, length in enumerate((height, width)):
            light = image.sum(axis=1 - axis)
            centre = ((np.arange(len(light)) + 0.5) * light).sum() / light.sum() / 4
            if abs(centre - round(centre)) > 0.02:  # rounding decides about the others
                cells = cells_of_pixels(length, len(light), 4)
                assert cells[pixel[axis]] == int(centre)
                compared += 1
    assert compared > 1.5 * max(height, width)


def test_models_see_what_the_evaluation_sees(small, mini_data):
    for image_format in ("RGB", "BGR"):
        cfg = build_cfg(CONFIG, [*small, "INPUT.FORMAT", image_format])
        clip = clip_of_dataset(cfg, mini_data["val"], None, 5)
        record = load_videos(mini_data["val"])[0]["frames"][5]
        mapped = VideoDatasetMapper(cfg, is_train=False).read_frame(record)
        seen = model_input(cfg, clip.pictures[clip.reference][:, :, ::-1])
        assert torch.equal(seen["image"], mapped["image"])
        assert (seen["height"], seen["width"]) == (mapped["height"], mapped["width"])


def test_clips_of_a_data_set(small, mini_data, damaged):
    def blank(root, content):
        """Instances in the frames 3 and 5 of the second video alone."""
        images = {image["id"]: image for image in content["images"]}
        content["annotations"] = [
            annotation
            for annotation in content["annotations"]
            if images[annotation["image_id"]]["video_id"] == content["videos"][1]["id"]
            and images[annotation["image_id"]]["frame_id"] in (3, 5)
        ]

    cfg = build_cfg(CONFIG, small)
    clip = clip_of_dataset(cfg, mini_data["val"], None, None)
    assert (clip.numbers, clip.reference) == ([3, 4], 0)
    at_end = clip_of_dataset(cfg, mini_data["val"], clip.name, 5)
    assert (at_end.numbers, at_end.reference) == ([4, 5], 1)
    partly = clip_of_dataset(cfg, damaged(blank, "val"), None, None)
    assert partly.name != clip.name
    assert partly.numbers[partly.reference] == 5
    other = clip_of_dataset(cfg, mini_data["val"], partly.name, 0)
    assert (other.name, other.numbers) == (partly.name, [0, 1])


@pytest.fixture
def frames(tmp_path):
    """A folder of nine frames, whose grey values say which they are."""
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(9):
        Image.new("RGB", (64, 48), (10 * number,) * 3).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("num_frames", [1, 2, 4, 9, 20])
def test_clips_of_any_video(small, frames, num_frames):
    cfg = build_cfg(CONFIG, [*small, "INPUT.CLIP.NUM_FRAMES", str(num_frames)])
    for frame in (None, *range(9)):
        clip = clip_of_video(cfg, frames, frame)
        assert clip.numbers == clip_indices(4 if frame is None else frame, 9, num_frames, 1)
        assert clip.numbers[clip.reference] == (4 if frame is None else frame)
        assert [int(picture[0, 0, 0]) for picture in clip.pictures] == [
            10 * n for n in clip.numbers
        ]
    with pytest.raises(InputError, match=r"--frame 9 is not in .*'walk': its frames are 0 to 8"):
        clip_of_video(cfg, frames, 9)
    with pytest.raises(InputError, match="--frame counts from 0, got -1"):
        clip_of_video(cfg, frames, -1)


def test_a_video_with_a_frame_that_cannot_be_read(small, frames):
    cfg = build_cfg(CONFIG, small)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(frames / "6.jpg")
    (frames / "6.jpg").write_bytes((frames / "6.jpg").read_bytes()[:2000])
    (frames / "6.png").unlink()
    assert clip_of_video(cfg, frames, 5).numbers == [4, 5]
    with pytest.raises(InputError, match=r"--frame 7 is not in .*only 6 of 9 frames .*6\.jpg"):
        clip_of_video(cfg, frames, 7)


def square(y, x, size, shape=(30, 40)):
    mask = np.zeros(shape, bool)
    mask[y : y + size, x : x + size] = True
    return mask


def clip_with(*frames):
    """A clip whose frames have these (identity, mask, is crowd)."""
    truth = [
        Annotated(
            np.stack([m for _, m, _ in frame]), [i for i, _, _ in frame], [c for *_, c in frame]
        )
        for frame in frames
    ]
    pictures = [np.zeros((30, 40, 3), np.uint8) for _ in frames]
    return Clip("walk", list(range(7, 7 + len(frames))), 0, pictures, truth)


def test_the_point_lies_deepest_inside_the_largest_instance():
    largest = square(10, 20, 11)
    largest[15, :] = True  # an arm
    clip = clip_with(
        [(0, square(0, 0, 4), False), (1, largest, False), (0, square(0, 0, 29), True)]
    )
    assert choose_point(clip, None, None, []) == (25, 15)
    assert choose_point(clip, (39, 29), None, []) == (39, 29)
    at_border = np.zeros((30, 40), bool)
    at_border[:, :9] = True  # the frame's border bounds it as well
    x, y = centre_point(at_border)
    assert x == 4
    assert 4 <= y <= 25


@pytest.mark.parametrize("point", [(40, 0), (0, 30), (-1, 5), (3, -1)])
def test_points_outside(point):
    clip = clip_with([(0, square(0, 0, 4), False)])
    with pytest.raises(InputError, match=r"frame 7 of 'walk'.*40 x 30.*0 to 39.*0 to 29"):
        choose_point(clip, point, None, [])


def test_without_annotations_the_point_is_in_the_largest_detection():
    clip = clip_with([(0, square(0, 0, 20), True)])
    masks, scores = [square(2, 2, 5), square(10, 10, 7), square(0, 0, 25)], [0.9, 0.6, 0.4]
    found = Instances((30, 40))
    found.pred_masks, found.scores = torch.from_numpy(np.stack(masks)), torch.tensor(scores)
    assert choose_point(clip, None, lambda clips: [[{"instances": found}]], []) == (13, 13)
    nobody = found[found.scores < 0.5]
    for detected in (nobody, Instances((30, 40))):
        with pytest.raises(InputError, match=r"frame 7 of 'walk'.*--point X,Y"):
            choose_point(clip, None, lambda clips, d=detected: [[{"instances": d}]], [])


def test_the_instance_at_a_point_is_followed():
    clip = clip_with(
        [(0, square(5, 5, 20), False), (1, square(8, 8, 6), False), (2, square(8, 8, 2), True)],
        [(1, square(8, 12, 6), False), (0, square(5, 6, 20), False)],
        [(0, square(5, 7, 20), False)],
    )
    small = instance_at(clip, (9, 9))
    assert (small[0] == square(8, 8, 6)).all()
    assert (small[1] == square(8, 12, 6)).all()
    assert small[2] is None
    assert (instance_at(clip, (20, 20))[2] == square(5, 7, 20)).all()
    assert instance_at(clip, (0, 0)) == [None] * 3


@pytest.fixture
def detector(small, tmp_path):
    """Overrides for a small detector with a checkpoint, and the model."""
    torch.manual_seed(0)
    model = build_model(build_cfg(CONFIG, small)).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    return [*small, "MODEL.WEIGHTS", str(tmp_path / "model.pth")], model


@pytest.fixture
def described(detector, mini_data):
    """The grid and the table of a point of a clip at the end of a video."""

    def describe_point(*opts, point=None, frame=5):
        cfg = build_cfg(CONFIG, [*detector[0], *opts])
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        clip = clip_of_dataset(cfg, mini_data["val"], None, frame)
        inputs = [model_input(cfg, picture[:, :, ::-1]) for picture in clip.pictures]
        point = choose_point(clip, point, model, inputs)
        return SimpleNamespace(clip=clip, point=point, model=model, inputs=inputs), *describe(
            model, clip, inputs, point, "p3"
        )

    return describe_point


def titles(grid):
    return [row.title for row in grid.rows]


def test_plot(described):
    shown, grid, table = described()
    assert titles(grid) == [
        *["Input", "Ground truth", "Spatial coupling", "Temporal coupling", "Influence"],
        *["Unary features", "Inferred features", "Change"],
    ]
    assert grid.captions == ["frame 4", "frame 5"]
    assert (grid.reference, grid.point) == (1, shown.point)
    heat = {row.title: row for row in grid.rows if isinstance(row, HeatRow)}
    assert all(row.signed == (i < 3) for i, row in enumerate(heat.values()))
    assert heat["Unary features"].limit == heat["Inferred features"].limit
    assert heat["Spatial coupling"].maps[0] is None

    # by hand: frames of 64 x 48 pixels are not resized, cells have 8 x 8 of them
    images = shown.model.preprocess_image(shown.inputs)
    x, y = shown.point
    cell = (y // 8, x // 8)
    affinity = point_affinity(shown.model.backbone, images, "p3", 1, cell)
    mask = instance_at(shown.clip, shown.point)[0]
    inside = total = 0
    for row in range(48):
        for column in range(64):
            value = affinity.temporal[0, row // 8, column // 8]
            assert heat["Temporal coupling"].maps[0][row, column] == pytest.approx(48 * value)
            total += abs(value)
            inside += abs(value) * mask[row, column]
    assert f"cell ({cell[0]}, {cell[1]}) of 6 x 8" in grid.subtitle
    assert heat["Temporal coupling"].notes[0].startswith(f"{inside / total:.0%} on ")
    line = next(line for line in table.splitlines() if line.startswith("temporal"))
    assert line.split()[2] == f"{inside / total:.1%}"


def test_rows_that_a_model_does_not_have_are_left_out(described):
    _, grid, table = described("MODEL.VIDEO_GCRF.SPATIAL_DIM", "0")
    assert "Spatial coupling" not in titles(grid) + table.splitlines()
    assert "Temporal coupling" in titles(grid)
    _, grid, _ = described("MODEL.VIDEO_GCRF.TEMPORAL_DIM", "0")
    assert "Temporal coupling" not in titles(grid)
    influence = next(row for row in grid.rows if row.title == "Influence")
    assert influence.maps[0] is None  # nothing comes from another frame
    _, grid, _ = described("INPUT.CLIP.NUM_FRAMES", "1")
    assert "Temporal coupling" not in titles(grid)
    assert grid.captions == ["frame 5"]


def test_a_frame_is_not_coupled_with_what_is_no_neighbour(described):
    options = ["MODEL.VIDEO_GCRF.SELF_COUPLING", "zero", "MODEL.VIDEO_GCRF.NEIGHBOURHOOD", "[1]"]
    _, grid, _ = described(*options, "INPUT.CLIP.NUM_FRAMES", "3", frame=0)
    (row,) = (row for row in grid.rows if row.title == "Temporal coupling")
    assert [values is None for values in row.maps] == [True, False, True]


def test_a_point_on_nobody(described):
    _, grid, table = described(point=(0, 0))
    assert table == ""
    assert grid.outlines == [None, None]
    assert not any(note for row in grid.rows if isinstance(row, HeatRow) for note in row.notes)


def test_pictures_and_maps_agree_about_where_the_point_is():
    """A picture of twice the frame's size and a map that both stand out around it."""
    frame = np.zeros((30, 40, 3), np.uint8)
    frame[18:25, 6:15] = (0, 255, 0)
    values = (frame[:, :, 1] > 0).astype(float)
    grid = Grid(
        title=r"a name, $\frac$",
        subtitle="",
        captions=["before", "now"],
        sizes=[(30, 40)] * 2,
        rows=[
            PictureRow("picture", "", [frame.repeat(2, 0).repeat(2, 1)] * 2),
            HeatRow("map", "", [None, values], limit=1, signed=True),
        ],
        outlines=[None, values > 0],
        reference=1,
        point=(10, 21),
        footer="",
    )
    figure = draw_grid(grid)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3].astype(int)  # from the bottom, as axes

    cells = [axes for axes in figure.axes if axes.images]
    assert len(cells) == 3  # one is empty
    for axes, colour in zip(cells, [(0, 255, 0), (0, 255, 0), (103, 0, 31)], strict=True):
        for x, y, inside in [(10, 21, True), (6, 18, True), (4, 18, False), (10, 15, False)]:
            column, row = axes.transData.transform((x, y)).astype(int)
            assert (np.abs(pixels[row, column] - colour).max() < 12) == inside
    rings = [axes for axes in cells if axes.lines]
    assert rings == cells[1:]
    assert all(np.array_equal(line.get_xydata(), [[10, 21]]) for a in rings for line in a.lines)


def run_tool(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["visualize_affinity.py", *map(str, words)])
    code = 0
    try:
        runpy.run_path("tools/visualize_affinity.py", run_name="__main__")
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_tool(monkeypatch, capsys, detector, tmp_path, mini_data):
    opts = ["--config-file", CONFIG, "--output", tmp_path / "point.png"]
    words = ["--frame", 2, "--point", "30,20", "--opts", *detector[0]]
    code, out, err = run_tool(monkeypatch, capsys, *opts, *words)
    assert code == 0, err
    assert f"wrote {tmp_path / 'point.png'}" in out
    with Image.open(tmp_path / "point.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture).std() > 10
    assert [path.name for path in tmp_path.glob("*.png")] == ["point.png"]


def test_videos_without_annotations(detector, frames, tmp_path):
    cfg = build_cfg(CONFIG, detector[0])
    output = tmp_path / "walk.svg"
    assert visualize_affinity(cfg, output, source=frames, frame=8, point=(30, 20)) == ""
    assert "</svg>" in output.read_text()


@pytest.mark.parametrize(
    ("options", "opts", "sentence"),
    [
        ({"video": "nobody"}, [], "has no video 'nobody': use one of "),
        ({"frame": 6}, [], "--frame 6 is not in .*: its frames are 0 to 5"),
        ({"frame": -1}, [], "--frame -1 is not in"),
        ({"source": "nowhere.mp4"}, [], "nowhere.mp4 is no file"),
        ({"source": "a.mp4", "video": "walk"}, [], "--input names a video"),
        ({"dataset": "nothing"}, [], "'nothing' is not registered"),
        ({"point": (64, 0)}, [], r"--point 64,0 is outside frame 3 of .* 64 x 48 pixels"),
        ({"feature": "p4"}, [], "--feature p4 is not coupled by this model: use one of p3"),
        ({"output": "picture.xyz"}, [], r"picture\.xyz names no picture"),
        ({}, ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"], "has no VideoGCRF"),
        ({}, ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN"], "has no VideoGCRF"),
        ({}, ["MODEL.WEIGHTS", ""], "couplings are learned"),
    ],
)
def test_bad_input_is_one_sentence(detector, tmp_path, options, opts, sentence):
    cfg = build_cfg(CONFIG, [*detector[0], *opts])
    output = tmp_path / options.get("output", "out.png")
    with pytest.raises(InputError, match=sentence) as error:
        visualize_affinity(cfg, **{**options, "output": output})
    assert "\n" not in str(error.value)
    assert not output.exists()
