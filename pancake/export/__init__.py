"""Out to everywhere: a trained net as a file of ONNX, in C, or in JavaScript."""

from pancake.export.c import to_c
from pancake.export.javascript import to_js
from pancake.export.onnx import register, to_onnx

__all__ = ["register", "to_c", "to_js", "to_onnx"]
