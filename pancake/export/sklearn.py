"""Estimators of `pancake.sklearn` in pipelines of scikit-learn, as one file of ONNX: importing this tells skl2onnx of them.

::

    import pancake.export.sklearn
    import skl2onnx

    proto = skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32))
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from pancake.export.onnx import to_onnx
from pancake.export.onnx_graph import OPSET
from pancake.function import Function
from pancake.functions.activations import Sigmoid
from pancake.functions.containers import Sequential
from pancake.functions.elementwise import Exp
from pancake.functions.softmax import Softmax
from pancake.sklearn import MLPClassifier, MLPRegressor

# What scikit-learn calls an output activation.
ACTIVATIONS: dict[str, type[Function]] = {"softmax": Softmax, "logistic": Sigmoid, "exp": Exp}


def _outputs(operator: Any, scope: Any, container: Any) -> str:
    """The net of an estimator, its output activation included, in the graph of skl2onnx; the name of its output."""
    estimator = operator.raw_operator
    last = [ACTIVATIONS[estimator.out_activation_]()] if estimator.out_activation_ in ACTIVATIONS else []
    graph = to_onnx(Sequential([estimator.model_, *last]), x=np.zeros((1, estimator.n_features_in_))).graph
    names = {"x": operator.inputs[0].full_name, "": ""}
    for initializer in graph.initializer:
        names[initializer.name] = scope.get_unique_variable_name(initializer.name)
        array = onnx.numpy_helper.to_array(initializer)
        container.add_initializer(names[initializer.name], initializer.data_type, list(array.shape), array.ravel().tolist())
    for node in graph.node:
        for output in node.output:
            names[output] = scope.get_unique_variable_name(output)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs, outputs = ([names[name] for name in some] for some in (node.input, node.output))
        name = scope.get_unique_operator_name(node.name)
        container.add_node(node.op_type, inputs, outputs, op_version=OPSET, name=name, **attributes)
    return names["y"]


def _classifier(scope: Any, operator: Any, container: Any) -> None:
    estimator = operator.raw_operator
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        raise TypeError(
            f"skl2onnx: {estimator!r} cannot be exported: it has several labels for a row; pass its model_ to to_onnx"
        )

    def node(op_type: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or scope.get_unique_variable_name(op_type)
        container.add_node(
            op_type, list(inputs), [name], op_version=OPSET, name=scope.get_unique_operator_name(op_type), **attributes
        )
        return name

    def constant(name: str, kind: int, values: list[Any]) -> str:
        unique: str = scope.get_unique_variable_name(name)
        container.add_initializer(unique, kind, [len(values)], values)
        return unique

    p = _outputs(operator, scope, container)
    label, probabilities = (output.full_name for output in operator.outputs)
    if len(estimator.classes_) == 2 and estimator.n_outputs_ == 1:
        p = node("Concat", node("Sub", constant("one", onnx.TensorProto.FLOAT, [1.0]), p), p, axis=1)
    elif estimator.out_activation_ != "softmax":  # each learnt by itself; a row of zeros stays one
        sums = node("ReduceSum", p, constant("axes", onnx.TensorProto.INT64, [1]), keepdims=1)
        p = node("Div", p, node("Max", sums, constant("least", onnx.TensorProto.FLOAT, [1e-30])))
    node("Identity", p, output=probabilities)
    words = estimator.classes_.dtype.kind not in "biuf"
    kind = onnx.TensorProto.STRING if words else onnx.TensorProto.INT64
    classes = [str(c).encode() if words else int(c) for c in estimator.classes_]
    node("Gather", constant("classes", kind, classes), node("ArgMax", p, axis=1, keepdims=0), output=label)


def _regressor_shapes(operator: Any) -> None:
    calculate_linear_regressor_output_shapes(operator)  # which says (N, 1) whatever the net
    output = operator.outputs[0].type
    output.shape = [output.shape[0], _numbers(operator.raw_operator)]


def _numbers(estimator: Any) -> int:
    """How many numbers a regressor predicts for a row."""
    count: int = estimator.n_outputs_
    return count // 2 if estimator.out_activation_ == "means" else count


def _regressor(scope: Any, operator: Any, container: Any) -> None:
    y, predicted = _outputs(operator, scope, container), operator.outputs[0].full_name
    estimator = operator.raw_operator
    if estimator.out_activation_ == "means":  # the first half of the outputs
        K, columns = _numbers(estimator), scope.get_unique_variable_name("columns")
        container.add_initializer(columns, onnx.TensorProto.INT64, [K], list(range(K)))
        name = scope.get_unique_operator_name("Gather")
        container.add_node("Gather", [y, columns], [predicted], op_version=OPSET, name=name, axis=1)
    else:
        name = scope.get_unique_operator_name("Identity")
        container.add_node("Identity", [y], [predicted], op_version=OPSET, name=name)


update_registered_converter(
    MLPClassifier,
    "PancakeMLPClassifier",
    calculate_linear_classifier_output_shapes,
    _classifier,
    options={"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]},
)
update_registered_converter(MLPRegressor, "PancakeMLPRegressor", _regressor_shapes, _regressor)
