"""Content of a small annotation file, to be damaged."""

SIZE = (48, 64)


BOX = [6, 9, 18, 26]


POLYGON = [6, 9, 24, 9, 24, 35, 6, 35]


def coco():
    """Two videos of two frames, one person on each."""
    images = [
        {
            "id": 2 * video + frame - 1,
            "file_name": f"video{video}/{frame}.png",
            "height": SIZE[0],
            "width": SIZE[1],
            "video_id": video,
            "frame_id": frame,
        }
        for video in (1, 2)
        for frame in (0, 1)
    ]
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "segmentation": [list(POLYGON)],
            "bbox": list(BOX),
            "area": 468,
            "iscrowd": 0,
        }
        for number in (1, 2, 3, 4)
    ]
    return {
        "videos": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }


def top(**values):
    return {**coco(), **values}


DOGS = [{"id": 1, "name": "dog"}]


BOTH = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
