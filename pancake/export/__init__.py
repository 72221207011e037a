"""Out to everywhere: a trained net as a file of ONNX."""

from pancake.export.onnx import register, to_onnx

__all__ = ["register", "to_onnx"]
