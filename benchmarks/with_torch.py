"""PyTorch, eager: a stack of modules, a loss and an optimizer, as its tutorials write the loop."""

import itertools
import os

import torch
from torch import nn
from workloads import Training, binary, data, flat, initial


class Recurrent(nn.Module):
    def __init__(self, workload):
        super().__init__()
        words, features, hidden, outputs = workload.sizes
        self.embedding = nn.Embedding(words, features)
        self.recurrent = (nn.LSTM if workload.kind == "lstm" else nn.RNN)(features, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, words):
        h, _ = self.recurrent(self.embedding(words))
        return self.linear(h).flatten(0, 1)


class Block(nn.Module):
    def __init__(self, n, heads, length):
        super().__init__()
        self.before_looking = nn.LayerNorm(n)
        self.look = nn.MultiheadAttention(n, heads, batch_first=True)
        self.before_thinking = nn.LayerNorm(n)
        self.think = nn.Sequential(nn.Linear(n, 4 * n), nn.GELU("tanh"), nn.Linear(4 * n, n))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x):
        h = self.before_looking(x)
        x = x + self.look(h, h, h, attn_mask=self.mask, is_causal=True, need_weights=False)[0]
        return x + self.think(self.before_thinking(x))


class GPT(nn.Module):
    def __init__(self, workload):
        super().__init__()
        words, n, heads, layers, outputs = workload.sizes
        self.embedding = nn.Embedding(words, n)
        self.positions = nn.Embedding(workload.length, n)
        self.blocks = nn.Sequential(*(Block(n, heads, workload.length) for _ in range(layers)))
        self.norm = nn.LayerNorm(n)
        self.linear = nn.Linear(n, outputs)

    def forward(self, words):
        x = self.embedding(words) + self.positions.weight
        return self.linear(self.norm(self.blocks(x))).flatten(0, 1)


def network(workload):
    if workload.kind == "gpt":
        return GPT(workload)
    if workload.kind in ("rnn", "lstm"):
        return Recurrent(workload)
    if workload.kind == "lenet":
        _, first, second, *units = workload.sizes
        stack = [nn.Conv2d(1, first, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        stack += [nn.Conv2d(first, second, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(flat(workload), units[0])]
        for n_in, n_out in itertools.pairwise(units):
            stack += [nn.ReLU(), nn.Linear(n_in, n_out)]
        return nn.Sequential(*stack)
    activation = nn.ReLU if workload.activation == "relu" else nn.Tanh
    stack = []
    for n_in, n_out in zip(workload.sizes, workload.sizes[1:], strict=False):
        stack += [nn.Linear(n_in, n_out), activation()]
    stack[-1:] = [nn.Sigmoid()] if workload.kind == "predict" else []
    return nn.Sequential(*stack)


class WithTorch(Training):
    def __init__(self, workload, **options):
        threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        if threads:
            torch.set_num_threads(threads)
        self.workload, self.options = workload, options
        self.network = network(workload).to(getattr(torch, workload.dtype))
        self.initial = [torch.from_numpy(array) for array in initial(workload).values()]
        self.step = self.prediction() if workload.kind == "predict" else self.training()

    def reset(self):
        with torch.no_grad():
            for parameter, start in zip(self.network.parameters(), self.initial, strict=True):
                parameter.copy_(start)
        if self.workload.kind != "predict":
            optimizer = torch.optim.Adam if self.workload.optimizer == "adam" else torch.optim.SGD
            self.optimizer = optimizer(self.network.parameters(), lr=self.workload.lr, **self.options)

    def results(self, steps):
        if self.workload.kind == "predict":
            return super().results(steps)
        self.reset()
        return [self.step().item() for _ in range(steps)]

    def training(self):
        x, y = (torch.from_numpy(array) for array in data(self.workload))
        network, loss = self.network, nn.BCEWithLogitsLoss() if binary(self.workload) else nn.CrossEntropyLoss()
        if self.workload.length:
            y = y.reshape(-1)

        def step():
            optimizer = self.optimizer
            optimizer.zero_grad()
            objective = loss(network(x), y)
            objective.backward()
            optimizer.step()
            return objective

        return step

    def prediction(self):
        x, network = torch.from_numpy(data(self.workload)[0]), self.network.eval()

        def step():
            with torch.inference_mode():
                return network(x)

        return step


build = WithTorch
