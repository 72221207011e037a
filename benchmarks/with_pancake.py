"""pancake through its public functions, as a script would write the loop."""

from workloads import Training, binary, data, flat, initial

import pancake as pk


class WithPancake(Training):
    def __init__(self, workload):
        self.workload, self.model = workload, network(workload)
        self.initial = initial(workload)
        self.loss = pk.BinaryCrossEntropy(from_logits=True) if binary(workload) else pk.CrossEntropy()
        self.step = self.prediction() if workload.kind == "predict" else self.training()

    def reset(self):
        self.model.load_state_dict(self.initial)
        if self.workload.kind != "predict":
            optimizer = pk.Adam if self.workload.optimizer == "adam" else pk.SGD
            self.optimizer = optimizer(self.model, lr=self.workload.lr)

    def training(self):
        model, loss, (x, y) = self.model, self.loss, data(self.workload)

        def step():
            optimizer = self.optimizer
            optimizer.zero_grad()
            objective = loss(model(x), y)
            model.accumulate_grads(loss.compute_backward())
            optimizer.step()
            return objective

        return step

    def prediction(self):
        model, (x, _) = self.model, data(self.workload)
        return lambda: pk.predict(model, x)


def network(workload):
    if workload.kind in ("rnn", "lstm"):
        words, features, hidden, outputs = workload.sizes
        cell = (pk.LSTMCell if workload.kind == "lstm" else pk.RNNCell)(features, hidden)
        stack = [pk.Embedding(words, features), pk.Unrolled(cell), pk.Linear(hidden, outputs)]
        return pk.Sequential(stack).astype(workload.dtype)
    if workload.kind == "lenet":
        _, first, second, *units = workload.sizes
        stack = [pk.Conv2d(1, first, 5, padding=2), pk.ReLU(), pk.MaxPool2d(2)]
        stack += [pk.Conv2d(first, second, 5), pk.ReLU(), pk.MaxPool2d(2), pk.Flatten()]
        return pk.Sequential([*stack, *pk.mlp([flat(workload), *units])]).astype(workload.dtype)
    if workload.kind == "gpt":
        words, n, heads, layers, outputs = workload.sizes
        stack = [pk.Embedding(words, n), pk.PositionalEmbedding(workload.length, n)]
        for _ in range(layers):
            stack.append(pk.Residual(pk.Sequential([pk.LayerNorm(n), pk.MultiHeadAttention(n, heads, causal=True)])))
            mlp = [pk.Linear(n, 4 * n), pk.GELU("tanh"), pk.Linear(4 * n, n)]
            stack.append(pk.Residual(pk.Sequential([pk.LayerNorm(n), *mlp])))
        return pk.Sequential([*stack, pk.LayerNorm(n), pk.Linear(n, outputs)]).astype(workload.dtype)
    activation = pk.ReLU if workload.activation == "relu" else pk.Tanh
    output = pk.Sigmoid if workload.kind == "predict" else None
    return pk.mlp(workload.sizes, activation=activation, output=output, dtype=workload.dtype)


build = WithPancake
