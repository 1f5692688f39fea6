"""Content of an annotation file, whose frames are in no order."""


def coco(**changes):
    """Two videos of two frames, in no order of ids, and categories whose ids have a gap."""
    places = [(11, 2, 1), (12, 2, 0), (13, 1, 1), (14, 1, 0)]
    content = {
        "videos": [{"id": 1, "name": "walk", "length": 2}, {"id": 2, "name": "run", "length": 2}],
        "images": [
            {
                "id": image,
                "file_name": f"480p/{video}/{frame}.jpg",
                "height": 10,
                "width": 20,
                "video_id": video,
                "frame_id": frame,
            }
            for image, video, frame in places
        ],
        "annotations": [
            {
                "id": image,
                "image_id": image,
                "category_id": 7,
                "bbox": [1, 2, 3, 4],
                "area": 12,
                "iscrowd": 0,
                "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]],
                "track_id": 5,
            }
            for image, _, _ in places
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 7, "name": "person"}],
    }
    return {**content, **changes}
