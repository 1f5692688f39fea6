"""Folders in the layout of DAVIS: read, resized, and turned into annotations."""
