"""Out to everywhere: a trained net as a file of ONNX, in C, in JavaScript, or as a page."""

from pancake.export import javascript_images  # noqa: F401  # which adds to the table of converters
from pancake.export.c import to_c
from pancake.export.javascript import to_js
from pancake.export.onnx import register, to_onnx
from pancake.export.page import to_page

__all__ = ["register", "to_c", "to_js", "to_onnx", "to_page"]
