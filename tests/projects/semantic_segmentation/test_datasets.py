import importlib
from pathlib import Path

import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from video_semseg import datasets
from video_semseg.camvid import load_camvid

from videogcrf_det import InputError
from videogcrf_det.data import load_clips, load_videos
from videogcrf_det.segmentation import add_segmentation_config

CONFIGS = Path(__file__).parents[3] / "projects" / "semantic_segmentation" / "configs"
NAMES = [
    *(f"cityscapes_semantic_{split}" for split in ("train", "val")),
    *(f"camvid_{split}" for split in ("train", "val", "test")),
    *(f"davis_person_semantic_{split}" for split in ("train", "val")),
    *(f"mini_davis_person_semantic_{split}" for split in ("train", "val")),
]


@pytest.fixture
def registered_below(monkeypatch):
    """Register the data sets again, below another folder."""

    def register(root):
        monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
        for name in NAMES:
            DatasetCatalog.remove(name)
        importlib.reload(datasets)

    yield register
    monkeypatch.undo()
    for name in NAMES:
        DatasetCatalog.remove(name)
    importlib.reload(datasets)


def camvid(root, names):
    """A data set whose list has ``names`` in their order."""
    lines = []
    for name in names:
        for folder, mode in [("train", "RGB"), ("trainannot", "L")]:
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.new(mode, (12, 8)).save(root / folder / f"{name}.png")
        lines.append(f"train/{name}.png trainannot/{name}.png\n")
    (root / "train.txt").write_text("".join(lines))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("num_frames", [2, 3, 4])
def test_clips_never_cross_a_sequence_boundary(registered_below, tmp_path, num_frames, stride):
    frames = {"a_f": [30, 60, 90, 120, 1000], "b_": [2, 4], "aa_": [30, 31, 32, 33, 34, 35]}
    left = {prefix: list(reversed(numbers)) for prefix, numbers in frames.items()}
    names = []
    while any(left.values()):  # sequences interleave, the last frames first
        names += [f"{prefix}{numbers.pop(0):05}" for prefix, numbers in left.items() if numbers]
    camvid(tmp_path / "CamVid", names)
    registered_below(tmp_path)
    clips = load_clips(["camvid_train"], num_frames, stride, filter_empty=False)
    assert len(clips) == len(names)
    for clip in clips:
        (sequence,) = {frame["video_id"] for frame in clip["frames"]}
        numbers = [frame["frame_id"] for frame in clip["frames"]]
        of_sequence = next(frames[prefix] for prefix in frames if prefix.rstrip("f_") == sequence)
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= set(of_sequence)
        assert len(numbers) == min(num_frames, len(of_sequence))
    videos = load_videos("camvid_train")
    assert [video["video_name"] for video in videos] == ["a", "aa", "b"]


def test_data_sets_are_below_the_folder_of_data_sets(registered_below, tmp_path):
    camvid(tmp_path / "CamVid", ["a_1"])
    registered_below(tmp_path)
    assert DatasetCatalog.get("camvid_train") == load_camvid(tmp_path / "CamVid", "train")
    for name, file in [
        ("camvid_test", "CamVid/test.txt"),
        ("davis_person_semantic_val", "DAVIS/annotations/davis_person_val.json"),
        ("mini_davis_person_semantic_val", "mini_davis/annotations/mini_davis_person_val.json"),
    ]:
        with pytest.raises(InputError, match=str(tmp_path / file)):
            DatasetCatalog.get(name)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_configs_fit_their_data_sets(path):
    cfg = get_cfg()
    add_segmentation_config(cfg)
    cfg.merge_from_file(str(path))
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        assert name in NAMES
        metadata = MetadataCatalog.get(name)
        assert len(metadata.stuff_classes) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        assert metadata.ignore_label == cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
        assert metadata.evaluator_type == "sem_seg"
        assert len(metadata.stuff_colors) == len(metadata.stuff_classes)
