"""Writes docs/reference.md, the list of all public names, from the docstrings: python docs/make_reference.py.

The table below is the one place where public names are sorted by kind; the site of the documentation has a page for each of
them. A name stands where it is imported from: `Linear` is `pancake.Linear`, `testing.adapt` is `pancake.testing.adapt`. A test
demands that none is missing.
"""

import importlib
import inspect
import re
from typing import Any

import pages

PAGE = pages.DOCS / "reference.md"

GROUPS: dict[str, str] = {
    "The contract": "Function __version__",
    "Containers": "Sequential Add Multiply Concatenate Residual Identity mlp",
    "Linear layers": "Linear MatMul AddBias Embedding Standardize",
    "Activations": """Sigmoid Tanh HardTanh ReLU LeakyReLU PReLU ELU SELU GELU SiLU Mish Softplus Softsign Softmax
        LogSoftmax""",
    "Elementwise and reductions": "Square Mul Negate Subtract Exp Log Abs Power Clip Mean Sum",
    "Shapes": "Transpose Reshape Flatten Expand Select",
    "Convolution and pooling": """Conv1d Conv2d ConvTranspose2d MaxPool1d MaxPool2d AvgPool1d AvgPool2d GlobalAvgPool2d
        Upsample""",
    "Normalization and dropout": "BatchNorm BatchNorm2d LayerNorm GroupNorm RMSNorm Dropout",
    "Attention and positions": "MultiHeadAttention PositionalEmbedding SinusoidalPositions",
    "Recurrent nets": "RNNCell LSTMCell GRUCell Unrolled Bidirectional rnn",
    "Losses": """Loss MeanSquaredError MeanAbsoluteError Huber Quantile Hinge BinaryCrossEntropy CrossEntropy
        NegativeLogLikelihood KLDivergence PoissonNLL GaussianNLL""",
    "Optimizers": "Optimizer SGD Adam AdamW RMSprop Adagrad clip_grad_norm clip_grad_value minimize",
    "Schedules": "step_decay exponential_decay cosine one_cycle warmup",
    "Training": """fit TrainStep predict evaluate EarlyStopping History NonFiniteError gradient_norms
        find_learning_rate""",
    "Metrics": "accuracy top_k_accuracy confusion_matrix f1_score r2_score mean_absolute_error",
    "Files": "save load load_meta",
    "Pictures": """plot_decision_boundary show_pred plot_regression plot_confusion_matrix plot_hidden_plane plot_history
        plot_gradients plot_learning_rates plot_weights plot_activations animate_training plotting.Drawing plotting.Film
        plotting.HiddenPlane plotting.TrainingAnimation plotting.COLORS""",
    "One backward explained": "explain explaining.Explanation",
    "Checks of derivatives": """testing.check_function testing.check_gradients testing.check_vjp
        testing.numerical_gradients testing.gradient_property testing.adapt testing.mutate testing.GradientReport
        testing.ArrayReport testing.MutationReport testing.GradientError""",
    "Strategies for hypothesis": """testing.strategies.functions testing.strategies.losses testing.strategies.stacks
        testing.strategies.arrays testing.strategies.batches testing.strategies.sequences testing.strategies.labels
        testing.strategies.probabilities testing.strategies.targets_for testing.strategies.upstream_for
        testing.strategies.examples""",
    "Data sets": "datasets.moons datasets.circles datasets.spirals datasets.blobs datasets.xor datasets.checkerboard",
    "Initial weights": """initializers.torch_uniform initializers.he_normal initializers.he_uniform
        initializers.glorot_normal initializers.glorot_uniform initializers.lecun_normal initializers.lecun_uniform
        initializers.orthogonal initializers.normal initializers.zeros""",
    "scikit-learn": "sklearn.MLPClassifier sklearn.MLPRegressor",
    "torch": "torch.from_torch torch.to_torch torch.load_torch",
    "The workshop": "workshop.judge workshop.yours",
    "Several processes": "mpi.data_parallel",
    "Export": "export.to_onnx export.register export.to_c export.to_js export.to_page",
    "The fast path": "fast.off",
}

# What the names of a group have in common, where a module says it.
MODULES = {
    "Schedules": "optimizers.schedules",
    "Pictures": "plotting",
    "Strategies for hypothesis": "testing.strategies",
    "Data sets": "datasets",
    "Initial weights": "initializers",
}


# What has no docstring of its own.
CONSTANTS = {
    "__version__": "The version of pancake, as a string.",
    "plotting.COLORS": "The colours of classes, in their order.",
}


def groups() -> dict[str, list[str]]:
    return {title: names.split() for title, names in GROUPS.items()}


def found(name: str) -> Any:
    """What stands under a name, such as `testing.adapt`."""
    module, _, last = f"pancake.{name}".rpartition(".")
    return getattr(importlib.import_module(module), last)


def summary(name: str) -> str:
    """The first sentence of the docstring."""
    if name in CONSTANTS:
        return CONSTANTS[name]
    first = " ".join((inspect.getdoc(found(name)) or "").partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[^.])\. (?=[A-Z])", first)[0]
    return sentence if sentence.endswith(".") else sentence.rstrip(":") + "."


def page() -> str:
    lines = [
        "# Reference",
        "",
        "Every public name, by kind, with the first sentence of its docstring; the whole of it is what `help(pancake.Linear)`",
        "shows. On the site of the documentation each name leads to a page of its own. All names begin with `pancake.`",
    ]
    for title, names in groups().items():
        lines += ["", f"## {title}", "", "| name | |", "|---|---|"]
        lines += [f"| `{name}` | {cell(summary(name))} |" for name in names]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """The text as a cell of a table; what stands in backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("*", "\\*") for part in parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
