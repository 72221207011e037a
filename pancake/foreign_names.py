"""The words of other libraries, and pancake's own for the same things: what an error says to somebody who comes from there.

Loaded where an error needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def _by_foreign_name(words: Mapping[str, str]) -> dict[str, str]:
    """What is written down for each word of pancake, by each of the names that it has elsewhere."""
    return {name: word for word, names in words.items() for name in names.split()}


# Names that are looked for in pancake itself, from torch (also its functional and optim), Keras and scikit-learn.
TOP_LEVEL = _by_foreign_name(
    {
        # losses
        "MeanSquaredError()": "MSELoss mse_loss mean_squared_error",
        "MeanAbsoluteError()": "L1Loss l1_loss",
        "Huber()": "SmoothL1Loss HuberLoss",
        "BinaryCrossEntropy()": "BCELoss binary_cross_entropy BinaryCrossentropy",
        "BinaryCrossEntropy(from_logits=True)": "BCEWithLogitsLoss",
        "CrossEntropy()": "CrossEntropyLoss cross_entropy log_loss",
        "CrossEntropy(), which takes logits": "CategoricalCrossentropy SparseCategoricalCrossentropy",
        "NegativeLogLikelihood()": "NLLLoss nll_loss",
        "PoissonNLL()": "PoissonNLLLoss",
        "GaussianNLL(), to which the variances come as logarithms beside the means": "GaussianNLLLoss",
        "KLDivergence()": "KLDivLoss",
        "Quantile(q)": "QuantileLoss",
        "Hinge()": "HingeLoss MarginLoss",
        # layers
        "Linear(n_in, n_out)": "Dense FullyConnected LazyLinear",
        "BatchNorm(n)": "BatchNorm1d BatchNormalization",
        "LayerNorm(n)": "LayerNormalization",
        "GroupNorm(groups, n)": "GroupNormalization",
        "GroupNorm(n, n)": "InstanceNorm2d",
        "Conv1d(n_in, n_out, kernel_size)": "Conv1D",
        "Conv2d(n_in, n_out, kernel_size)": "Conv2D conv2d",
        "Conv2d(n, n, kernel_size, groups=n)": "DepthwiseConv2D",
        "ConvTranspose2d(n_in, n_out, kernel_size)": "Conv2DTranspose",
        "MaxPool2d(kernel_size)": "MaxPooling2D",
        "AvgPool2d(kernel_size)": "AveragePooling2D",
        "GlobalAvgPool2d()": "GlobalAveragePooling2D AdaptiveAvgPool2d",
        "Upsample(scale)": "UpSampling2D UpsamplingNearest2d",
        "Unrolled(RNNCell(n_in, n_hidden))": "RNN SimpleRNN",
        "Unrolled(LSTMCell(n_in, n_hidden))": "LSTM",
        "Unrolled(GRUCell(n_in, n_hidden))": "GRU",
        "MultiHeadAttention(n, heads)": "MultiheadAttention",
        "Tanh(), ReLU() and the like, which are Functions of their own": "Activation",
        "ReLU()": "relu",
        "Sigmoid()": "sigmoid",
        "Tanh()": "tanh",
        "Softmax()": "softmax",
        "LogSoftmax()": "log_softmax",
        "GELU()": "gelu",
        "SiLU()": "Swish",
        "Transpose(axes)": "Permute",
        "Reshape(shape)": "Unflatten",
        "Select(index) picks entries; anything else is a Function of your own": "Lambda",
        "Function": "Module Layer Model",
        "an array self.k beside an array self.grad_k": "Parameter",
        "a list of Functions as an attribute": "ModuleList",
        "a dict of Functions as an attribute": "ModuleDict",
        "mlp([n_in, n_hidden, n_out])": "MLP",
        "mlp([n_in, n_hidden, n_out]) with fit(...), or pancake.sklearn.MLPClassifier": "MLPClassifier",
        "mlp([n_in, n_hidden, n_out]) with fit(...), or pancake.sklearn.MLPRegressor": "MLPRegressor",
        # tensors and graphs, which there are none of
        "an array of NumPy": "Tensor tensor Variable",
        "predict(model, x), which keeps nothing for a backward": "no_grad inference_mode",
        "rng=0, an argument of whatever draws": "manual_seed",
        "NumPy alone: there are no devices": "device",
        # training
        "SGD, Adam and the others in pancake itself": "optim optimizers",
        "Linear, Sequential and the others in pancake itself": "nn layers",
        "Functions, which are made first: ReLU()(x)": "functional",
        "MeanSquaredError, CrossEntropy and the others in pancake itself": "losses",
        "RMSprop(model)": "RMSProp",
        "Adagrad(model)": "AdaGrad",
        "fit(model, loss, optimizer, x, y)": "train",
        "minimize(model, loss, x, y)": "LBFGS",
        "minimize(model, loss, x, y, method='Levenberg-Marquardt')": "trainlm",
        "clip_grad_norm(model, max_norm)": "clip_grad_norm_ clip_by_norm",
        "clip_grad_value(model, max_value)": "clip_grad_value_",
        "step_decay(lr, step_size), a function of the step": "StepLR",
        "exponential_decay(lr, gamma), a function of the step": "ExponentialLR",
        "cosine(lr, steps), a function of the step": "CosineAnnealingLR",
        "one_cycle(max_lr, steps), a function of the step": "OneCycleLR",
        "fit(..., checkpoint=path)": "ModelCheckpoint",
        "fit(..., batch_size=32), or any iterable of batches (x, y)": "DataLoader",
        "arrays x and y, or any iterable of batches (x, y)": "Dataset",
        "fit(..., validation=0.2)": "train_test_split",
        "Standardize.of(x) as the first layer": "StandardScaler",
        "accuracy(pred, target)": "accuracy_score",
        "testing.check_gradients": "gradcheck",
        "load(path)": "load_model",
        "save(path, model)": "save_model",
        "model.load_state_dict(state)": "load_state_dict",
    }
)

# Names of arguments, for whatever refuses an unknown one.
ARGUMENTS = _by_foreign_name(
    {
        "n_in": "in_features input_size in_channels input_dim",
        "n_out": "out_features out_channels units",
        "n_hidden": "hidden_size",
        "n": "num_features normalized_shape embed_dim",
        "dim": "embedding_dim",
        "heads": "num_heads",
        "bias": "use_bias",
        "init": "kernel_initializer",
        "lr": "learning_rate learning_rate_init",
        "betas": "beta_1 beta_2",
        "eps": "epsilon",
        "weight_decay": "decay alpha",
        "model": "params parameters",
        "p": "p_drop rate",
        "rng": "seed random_state generator",
        "epochs": "max_iter n_epochs",
        "validation": "validation_split validation_data",
        "progress": "verbose",
        "class_weight": "class_weights",
    }
)

# Arguments that something else takes, for whatever has none of that name.
ELSEWHERE: Mapping[str, str] = {
    "lr": "the optimizer takes it, as in Adam(model, lr=0.01)",
    "learning_rate": "the optimizer takes it, as in Adam(model, lr=0.01)",
    "weight_decay": "the optimizer takes it, as in AdamW(model, weight_decay=0.01)",
    "momentum": "the optimizer takes it, as in SGD(model, momentum=0.9)",
    "restore_best_weights": "EarlyStopping always gives back the best weights",
    "patience": "EarlyStopping takes it, as in early_stopping=EarlyStopping('val_loss', patience=5)",
    "activation": "activations are Functions of their own: Sequential([Linear(2, 3), ReLU()])",
    "dropout": "Dropout(p) is a Function of its own",
    "num_layers": "a stack has a part for each layer; rnn([n_in, n_hidden, n_hidden, n_out]) makes one",
    "bidirectional": "Bidirectional(cell, another) takes two cells",
    "batch_first": "the batch always comes first",
    "return_sequences": "Unrolled(cell, return_sequences=False) takes it",
    "device": "there are no devices, NumPy alone",
}

# Attributes of models, losses and optimizers.
ATTRIBUTES = _by_foreign_name(
    {
        "compute_forward(x)": "forward call",
        "compute_backward(): model.accumulate_grads(loss.compute_backward())": "backward",
        "get_params_and_grads(), two lists of arrays; an optimizer takes the model itself, Adam(model)": "parameters",
        "state_dict()": "named_parameters get_weights",
        "walk()": "children modules",
        "get_params_and_grads()[0]": "trainable_weights weights",
        "load_state_dict(state)": "set_weights",
        "freeze()": "requires_grad_ trainable",
        "fit(model, loss, optimizer, x, y)": "compile",
        "pancake.fit(model, loss, optimizer, x, y)": "fit",
        "pancake.evaluate(model, loss, x, y)": "evaluate",
        "pancake.predict(model, x)": "predict",
        "pancake.save(path, model)": "save",
        "optimizer.zero_grad()": "zero_grad",
        "astype(dtype)": "to",
        "astype(np.float32)": "float",
        "astype(np.float64)": "double",
        "astype(np.float16)": "half",
        "the number itself: float(objective)": "item",
        "add(function)": "append",
        "step()": "apply_gradients",
        "zero_grad() and step()": "minimize",
    }
)


def advice(name: str, table: Mapping[str, str] = TOP_LEVEL) -> str:
    """The end of an error message: pancake's word for a name of another library, if it is known."""
    return f"; pancake's word for it is {table[name]}" if name in table else ""


def refusal(owner: str, name: str, taken: Sequence[str]) -> str:
    """What is said of an argument that is not among those taken: which one is meant, or who takes it, or which there are."""
    from difflib import get_close_matches  # which attributes that are not there do not need

    said = f"{owner}: got an unexpected argument {name!r}"
    if ARGUMENTS.get(name) in taken:
        return said + advice(name, ARGUMENTS)
    if near := get_close_matches(name, taken, n=1):
        return f"{said}; did you mean {near[0]}?"
    if name in ELSEWHERE:
        return f"{said}; {ELSEWHERE[name]}"
    return f"{said}; it takes {', '.join(taken) or 'none'}"
