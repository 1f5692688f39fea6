"""Detectors with fields as files that run without this project: ONNX and TorchScript."""

from videogcrf_det.export.detector import export_detector

__all__ = ["export_detector"]
