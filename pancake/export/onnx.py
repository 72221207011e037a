"""`to_onnx`: a model as a file that other runtimes read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pancake import fast
from pancake._version import __version__
from pancake.arguments import as_array, path_of
from pancake.export import onnx_images, onnx_layers  # noqa: F401  # which fill the table of converters
from pancake.export.inputs import example_of
from pancake.export.onnx_graph import CONVERTERS, OPSET, TAKE_INTEGERS, Converter, Graph
from pancake.files.replacing import replacing
from pancake.function import Function, need_function
from pancake.functions.containers import forward

IR_VERSION = 8  # of the file format: what belongs to that version of the operators


def register(cls: type[Function], converter: Converter) -> None:
    """Tell `to_onnx` how a class of your own is converted, and that class alone: a subclass needs a converter of its own.

    Parameters
    ----------
    cls : type
        A subclass of `Function`.
    converter : callable
        `converter(function, graph, x)` returns the name of the output, x being the name of the input, or a tuple of names.
        `graph.add(op_type, *inputs, **attributes)` adds a node and returns the name of its output; inputs are names, numbers or
        arrays. `graph.convert(part, x)` adds what a Function inside computes. An integer input arrives as int64.
    """
    if not (isinstance(cls, type) and issubclass(cls, Function)):
        raise TypeError(f"register: expected a subclass of Function, got {cls!r}"[:300])
    if not callable(converter):
        raise TypeError(f"register: expected a function of (function, graph, x) as converter, got {converter!r}"[:300])
    CONVERTERS[cls] = converter
    TAKE_INTEGERS.add(cls)


def to_onnx(model: Function, path: str | os.PathLike[str] | None = None, *, x: Any, lengths: ArrayLike | None = None) -> Any:
    """A model in evaluation mode as a graph of ONNX, opset 18, in float32, which most runtimes have alone.

    Inputs are called "x" (int64 where indices are taken), or "x0", "x1", ... for a tuple; the output is called "y". The first
    axis is free: any number of examples may come. So is the time axis, the second, of models with a recurrent part. Parameters
    have the names of `state_dict`.

    Parameters
    ----------
    model : Function
        Left as it is, its mode, parameters and buffers included.
    path : str or path-like, optional
        Where to write the file too.
    x : array_like (B, ...), or tuple of such
        An example of the input, of any number of rows: its shapes and kinds are what counts. A tuple stands for several inputs.
    lengths : array_like of int (B,), optional
        If given, the graph has one more input, called "lengths": how many steps of each sequence are valid, as int64.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    TypeError
        If there is a Function in the model for which there is no converter; the message names it. `register` adds one.
    ValueError
        If the input does not fit, or a parameter is more than float32 can hold. Nothing has been written then.
    ImportError
        Without the package onnx.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("to_onnx needs the package onnx: pip install onnx") from None
    need_function("to_onnx", model)
    path = None if path is None else path_of("to_onnx", path, "'model.onnx'")
    example = example_of(to_onnx, x)
    double = model._double().eval()
    with fast.off(), np.errstate(all="ignore"):
        if lengths is not None:
            model._check_lengths(lengths)
            forward(double, example, as_array(to_onnx, lengths, "lengths"))
        graph, inputs, y = _graph_of(double, example, lengths is not None)
        time = double._takes_lengths() and _is_free(double, example)
    values = [_input_of(graph, name, time) for name in inputs]
    if graph.lengths:
        values.append(onnx.helper.make_tensor_value_info(graph.lengths, onnx.TensorProto.INT64, ["batch"]))
    for node in graph.nodes:
        node.output[:] = ["y" if name == y else name for name in node.output]
        node.input[:] = ["y" if name == y else name for name in node.input]
    last = graph.example(y)
    kind = onnx.TensorProto.INT64 if last.dtype.kind in "biu" else onnx.TensorProto.FLOAT  # as of a stack of nothing
    output = onnx.helper.make_tensor_value_info("y", kind, [None] * last.ndim)
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "pancake", values, [output], graph.initializers),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="pancake",
        producer_version=__version__,
    )
    proto = onnx.shape_inference.infer_shapes(proto)
    onnx.checker.check_model(proto)
    if path is not None:
        with replacing(os.path.realpath(path), "to_onnx") as file:
            file.write(proto.SerializeToString())
    return proto


def _graph_of(double: Function, example: Any, lengths: bool) -> tuple[Graph, list[str], str]:
    """The graph, the names of its inputs, and that of its output."""
    graph = Graph(to_onnx, double, "lengths" if lengths else None)
    for name in ("y", "lengths"):
        graph.name(name)
    parts = example if isinstance(example, tuple) else (example,)
    names = [graph.name(f"x{i}" if isinstance(example, tuple) else "x") for i in range(len(parts))]
    graph.examples.update(zip(names, parts, strict=True))
    y = graph.convert(double, tuple(names) if isinstance(example, tuple) else names[0])
    return graph, names, y


def _is_free(double: Function, example: Any) -> bool:
    """Whether the model takes one more time step."""

    def longer(part: Any) -> Any:
        return np.concatenate([part, part[:, -1:]], axis=1) if part.ndim > 1 else part

    try:
        _graph_of(double, tuple(map(longer, example)) if isinstance(example, tuple) else longer(example), lengths=False)
    except ValueError:
        return False
    return True


def _input_of(graph: Graph, name: str, time: bool) -> Any:
    """The description of an input, whose integers become floats if nothing takes them as they are."""
    import onnx

    example = graph.example(name)
    shape: list[Any] = ["batch", *example.shape[1:]] if example.ndim else []
    if time and example.ndim > 1:
        shape[1] = "time"
    users = [node for node in graph.nodes if name in node.input]
    integers = example.dtype.kind in "biu" and not all(node.op_type == "Cast" for node in users)
    if not integers:
        for node in users:
            if node.op_type == "Cast":
                node.op_type = "Identity"
                del node.attribute[:]
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64 if integers else onnx.TensorProto.FLOAT, shape)
