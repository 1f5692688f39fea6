"""A tiny segmentor for all tests of the project."""

from tests.support.tiny import frames_folder, make_cfg, room, tiny

__all__ = ["frames_folder", "make_cfg", "room", "tiny"]
