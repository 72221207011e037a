"""The words of other libraries, and pancake's own for the same things: what an error says to somebody who comes from there.

Loaded where an error needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Names that are looked for in pancake itself, from torch (also its functional and optim), Keras and scikit-learn.
TOP_LEVEL: Mapping[str, str] = {
    # losses
    "MSELoss": "MeanSquaredError()",
    "mse_loss": "MeanSquaredError()",
    "mean_squared_error": "MeanSquaredError()",
    "L1Loss": "MeanAbsoluteError()",
    "l1_loss": "MeanAbsoluteError()",
    "SmoothL1Loss": "Huber()",
    "HuberLoss": "Huber()",
    "BCELoss": "BinaryCrossEntropy()",
    "BCEWithLogitsLoss": "BinaryCrossEntropy(from_logits=True)",
    "binary_cross_entropy": "BinaryCrossEntropy()",
    "BinaryCrossentropy": "BinaryCrossEntropy()",
    "CrossEntropyLoss": "CrossEntropy()",
    "cross_entropy": "CrossEntropy()",
    "log_loss": "CrossEntropy()",
    "CategoricalCrossentropy": "CrossEntropy(), which takes logits",
    "SparseCategoricalCrossentropy": "CrossEntropy(), which takes logits",
    "NLLLoss": "NegativeLogLikelihood()",
    "nll_loss": "NegativeLogLikelihood()",
    "PoissonNLLLoss": "PoissonNLL()",
    "GaussianNLLLoss": "GaussianNLL(), to which the variances come as logarithms beside the means",
    "KLDivLoss": "KLDivergence()",
    "QuantileLoss": "Quantile(q)",
    "HingeLoss": "Hinge()",
    "MarginLoss": "Hinge()",
    # layers
    "Dense": "Linear(n_in, n_out)",
    "FullyConnected": "Linear(n_in, n_out)",
    "LazyLinear": "Linear(n_in, n_out)",
    "BatchNorm1d": "BatchNorm(n)",
    "BatchNormalization": "BatchNorm(n)",
    "LayerNormalization": "LayerNorm(n)",
    "GroupNormalization": "GroupNorm(groups, n)",
    "InstanceNorm2d": "GroupNorm(n, n)",
    "Conv1D": "Conv1d(n_in, n_out, kernel_size)",
    "Conv2D": "Conv2d(n_in, n_out, kernel_size)",
    "conv2d": "Conv2d(n_in, n_out, kernel_size)",
    "DepthwiseConv2D": "Conv2d(n, n, kernel_size, groups=n)",
    "Conv2DTranspose": "ConvTranspose2d(n_in, n_out, kernel_size)",
    "MaxPooling2D": "MaxPool2d(kernel_size)",
    "AveragePooling2D": "AvgPool2d(kernel_size)",
    "GlobalAveragePooling2D": "GlobalAvgPool2d()",
    "AdaptiveAvgPool2d": "GlobalAvgPool2d()",
    "UpSampling2D": "Upsample(scale)",
    "UpsamplingNearest2d": "Upsample(scale)",
    "RNN": "Unrolled(RNNCell(n_in, n_hidden))",
    "SimpleRNN": "Unrolled(RNNCell(n_in, n_hidden))",
    "LSTM": "Unrolled(LSTMCell(n_in, n_hidden))",
    "GRU": "Unrolled(GRUCell(n_in, n_hidden))",
    "MultiheadAttention": "MultiHeadAttention(n, heads)",
    "Activation": "Tanh(), ReLU() and the like, which are Functions of their own",
    "relu": "ReLU()",
    "sigmoid": "Sigmoid()",
    "tanh": "Tanh()",
    "softmax": "Softmax()",
    "log_softmax": "LogSoftmax()",
    "gelu": "GELU()",
    "Swish": "SiLU()",
    "Permute": "Transpose(axes)",
    "Unflatten": "Reshape(shape)",
    "Lambda": "Select(index) picks entries; anything else is a Function of your own",
    "Module": "Function",
    "Layer": "Function",
    "Model": "Function",
    "Parameter": "an array self.k beside an array self.grad_k",
    "ModuleList": "a list of Functions as an attribute",
    "ModuleDict": "a dict of Functions as an attribute",
    "MLP": "mlp([n_in, n_hidden, n_out])",
    "MLPClassifier": "mlp([n_in, n_hidden, n_out]) with fit(...), or pancake.sklearn.MLPClassifier",
    "MLPRegressor": "mlp([n_in, n_hidden, n_out]) with fit(...), or pancake.sklearn.MLPRegressor",
    # tensors and graphs, which there are none of
    "Tensor": "an array of NumPy",
    "tensor": "an array of NumPy",
    "Variable": "an array of NumPy",
    "no_grad": "predict(model, x), which keeps nothing for a backward",
    "inference_mode": "predict(model, x), which keeps nothing for a backward",
    "manual_seed": "rng=0, an argument of whatever draws",
    "device": "NumPy alone: there are no devices",
    # training
    "optim": "SGD, Adam and the others in pancake itself",
    "nn": "Linear, Sequential and the others in pancake itself",
    "functional": "Functions, which are made first: ReLU()(x)",
    "optimizers": "SGD, Adam and the others in pancake itself",
    "layers": "Linear, Sequential and the others in pancake itself",
    "losses": "MeanSquaredError, CrossEntropy and the others in pancake itself",
    "RMSProp": "RMSprop(model)",
    "AdaGrad": "Adagrad(model)",
    "train": "fit(model, loss, optimizer, x, y)",
    "LBFGS": "minimize(model, loss, x, y)",
    "trainlm": "minimize(model, loss, x, y, method='Levenberg-Marquardt')",
    "clip_grad_norm_": "clip_grad_norm(model, max_norm)",
    "clip_grad_value_": "clip_grad_value(model, max_value)",
    "clip_by_norm": "clip_grad_norm(model, max_norm)",
    "StepLR": "step_decay(lr, step_size), a function of the step",
    "ExponentialLR": "exponential_decay(lr, gamma), a function of the step",
    "CosineAnnealingLR": "cosine(lr, steps), a function of the step",
    "OneCycleLR": "one_cycle(max_lr, steps), a function of the step",
    "ModelCheckpoint": "fit(..., checkpoint=path)",
    "DataLoader": "fit(..., batch_size=32), or any iterable of batches (x, y)",
    "Dataset": "arrays x and y, or any iterable of batches (x, y)",
    "train_test_split": "fit(..., validation=0.2)",
    "StandardScaler": "Standardize.of(x) as the first layer",
    "accuracy_score": "accuracy(pred, target)",
    "gradcheck": "testing.check_gradients",
    "load_model": "load(path)",
    "save_model": "save(path, model)",
    "load_state_dict": "model.load_state_dict(state)",
}

# Names of arguments: {what others call it: what it is called here}, for whatever refuses an unknown one.
ARGUMENTS: Mapping[str, str] = {
    "in_features": "n_in",
    "out_features": "n_out",
    "input_size": "n_in",
    "hidden_size": "n_hidden",
    "in_channels": "n_in",
    "out_channels": "n_out",
    "units": "n_out",
    "input_dim": "n_in",
    "num_features": "n",
    "normalized_shape": "n",
    "embedding_dim": "dim",
    "embed_dim": "n",
    "num_heads": "heads",
    "use_bias": "bias",
    "kernel_initializer": "init",
    "learning_rate": "lr",
    "learning_rate_init": "lr",
    "beta_1": "betas",
    "beta_2": "betas",
    "epsilon": "eps",
    "decay": "weight_decay",
    "alpha": "weight_decay",
    "params": "model",
    "parameters": "model",
    "p_drop": "p",
    "rate": "p",
    "seed": "rng",
    "random_state": "rng",
    "generator": "rng",
    "max_iter": "epochs",
    "n_epochs": "epochs",
    "validation_split": "validation",
    "validation_data": "validation",
    "verbose": "progress",
    "class_weights": "class_weight",
}

# Arguments that something else takes, for whatever has none of that name.
ELSEWHERE: Mapping[str, str] = {
    "lr": "the optimizer takes it, as in Adam(model, lr=0.01)",
    "learning_rate": "the optimizer takes it, as in Adam(model, lr=0.01)",
    "weight_decay": "the optimizer takes it, as in AdamW(model, weight_decay=0.01)",
    "momentum": "the optimizer takes it, as in SGD(model, momentum=0.9)",
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
ATTRIBUTES: Mapping[str, str] = {
    "forward": "compute_forward(x)",
    "call": "compute_forward(x)",
    "backward": "compute_backward(): model.accumulate_grads(loss.compute_backward())",
    "parameters": "get_params_and_grads(), two lists of arrays; an optimizer takes the model itself, Adam(model)",
    "named_parameters": "state_dict()",
    "children": "walk()",
    "modules": "walk()",
    "trainable_weights": "get_params_and_grads()[0]",
    "weights": "get_params_and_grads()[0]",
    "get_weights": "state_dict()",
    "set_weights": "load_state_dict(state)",
    "requires_grad_": "freeze()",
    "trainable": "freeze()",
    "compile": "fit(model, loss, optimizer, x, y)",
    "fit": "pancake.fit(model, loss, optimizer, x, y)",
    "evaluate": "pancake.evaluate(model, loss, x, y)",
    "predict": "pancake.predict(model, x)",
    "save": "pancake.save(path, model)",
    "zero_grad": "optimizer.zero_grad()",
    "to": "astype(dtype)",
    "float": "astype(np.float32)",
    "double": "astype(np.float64)",
    "half": "astype(np.float16)",
    "item": "the number itself: float(objective)",
    "append": "add(function)",
    "apply_gradients": "step()",
    "minimize": "zero_grad() and step()",
}


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
