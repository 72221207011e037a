"""Out to everywhere: a trained net as a file of ONNX, or in JavaScript."""

from pancake.export.javascript import to_js
from pancake.export.onnx import register, to_onnx

__all__ = ["register", "to_js", "to_onnx"]
