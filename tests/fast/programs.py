"""Random programs of what people do with a net between two calls, run with the fast path and without.

A seed is a program: it draws a net and then one operation after another. `trace` runs it and returns what could be seen after
each operation: what came out, or which exception, and all parameters and gradients. No draw depends on a result, so the same
seed makes the same program on either path.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import pickle

import numpy as np

import pancake as pk

REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)
ACTIVATIONS = (
    pk.ReLU, pk.Tanh, pk.Sigmoid, pk.LeakyReLU, pk.HardTanh, pk.ELU, pk.SELU, pk.GELU, pk.SiLU, pk.Mish, pk.Softplus, pk.Softsign,
)  # fmt: skip


METHODS = {"compute_forward", "compute_backward", "init_state"}


class Scale(pk.Function):
    """A user's Function, with the three methods alone; it may share its parameter with a Linear."""

    def __init__(self, k, grad_k):
        self.k, self.grad_k = k, grad_k

    def compute_forward(self, x):
        self.x = x
        return x * self.k

    def compute_backward(self, dObj_dOut):
        self.grad_k += (dObj_dOut * self.x).reshape(-1, self.k.size).sum(axis=0)
        return dObj_dOut * self.k


class Faulty(pk.Function):
    """Raises in every other forward."""

    calls = 0

    def compute_forward(self, x):
        self.calls += 1
        if self.calls % 2 == 0:
            raise ValueError("Faulty")
        return 1.0 * x

    def compute_backward(self, dObj_dOut):
        return 1.0 * dObj_dOut


class Bent(pk.Tanh):
    """A subclass with a forward of its own."""

    def compute_forward(self, x):
        return 0.5 * super().compute_forward(x)

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(0.5 * dObj_dOut)


class World:
    """One run of a program."""

    def __init__(self, seed, fast):
        self.rng, self.fast = np.random.default_rng(seed), fast
        self.dtype = self.rng.choice([np.float64, np.float64, np.float32])
        self.width, self.out = (int(n) for n in self.rng.integers(1, 6, 2))
        self.sequences = self.rng.random() < 0.3
        self.words = self.sequences and self.rng.random() < 0.4
        self.model = self.stack()
        self.optimizer = pk.SGD(self.model, lr=0.05) if self.rng.random() < 0.5 else pk.Adam(self.model, lr=0.05, eps=0.1)
        self.loss = [pk.MeanSquaredError(), pk.Huber(0.5), pk.MeanAbsoluteError(), pk.BinaryCrossEntropy(True)][
            self.rng.integers(4)
        ]
        self.x, self.y, self.steps = None, None, None

    # --- nets ---

    def linear(self, n_in, n_out):
        layer = pk.Linear(n_in, n_out, bias=bool(self.rng.random() < 0.8), rng=int(self.rng.integers(99)), dtype=self.dtype)
        if layer.bias is not None:
            layer.bias = self.rng.normal(size=n_out)
        return layer

    def unrolled(self, n_in, n_hidden):
        cell = [pk.RNNCell, pk.LSTMCell, pk.GRUCell][self.rng.integers(3)]
        return pk.Unrolled(
            cell(n_in, n_hidden, rng=int(self.rng.integers(99)), dtype=self.dtype), reverse=bool(self.rng.integers(2))
        )

    def activation(self):
        return ACTIVATIONS[self.rng.integers(len(ACTIVATIONS))]()

    def part(self, n):
        """A Function that keeps n features."""
        kind = self.rng.integers(15)
        if kind == 13:
            return self.branches(n)
        if kind == 14:
            return [pk.Square, pk.Abs, pk.Negate, pk.Exp, pk.Identity][self.rng.integers(5)]()
        if kind < 5:
            return self.activation()
        if kind == 5:
            return pk.Residual(pk.Sequential([self.linear(n, n), self.activation()]))
        if kind == 6:
            return pk.Sequential([self.linear(n, 4), self.activation(), self.linear(4, n)])
        if kind == 7:
            return Scale(np.full(n, 1.1, self.dtype), np.zeros(n, self.dtype))
        if kind == 8 and n > 2:  # of fewer features it tells hardly more than which is the larger, and rounding decides
            return [pk.LayerNorm, pk.RMSNorm][self.rng.integers(2)](n, dtype=self.dtype)
        if kind == 9:
            return pk.BatchNorm(n, dtype=self.dtype)
        if kind == 10:
            return pk.Dropout(0.3, rng=int(self.rng.integers(99)))
        if kind == 11:
            return [pk.PReLU(dtype=self.dtype), pk.PReLU(n, dtype=self.dtype), pk.Softmax(), pk.LogSoftmax()][
                self.rng.integers(4)
            ]
        return [Bent(), Faulty(), pk.Add([self.linear(n, n), pk.Tanh()])][self.rng.integers(3)]

    def branches(self, n):
        """A container of branches that keeps n features."""
        parts = [self.activation(), pk.Sequential([self.linear(n, n), self.activation()]), self.linear(n, n), pk.Identity()]
        parts = [parts[i] for i in self.rng.permutation(4)[: self.rng.integers(1, 4)]]
        if self.rng.random() < 0.3:
            parts[0] = pk.Residual(parts[0])
        if self.rng.random() < 0.3:
            return pk.Sequential([pk.Concatenate(parts), self.linear(n * len(parts), n)])
        return [pk.Add, pk.Multiply][self.rng.integers(2)](parts)

    def stack(self):
        functions, n = [], self.width
        if self.words or (self.sequences and self.rng.random() < 0.7):
            if self.words:
                functions.append(pk.Embedding(7, n, rng=int(self.rng.integers(99)), dtype=self.dtype))
            functions.append(self.unrolled(n, 3))
            n = 3
            if self.rng.random() < 0.3:
                functions += [self.linear(n, 2)] * int(self.rng.integers(2))
                functions.append(self.unrolled(functions[-1].n_out if type(functions[-1]) is pk.Linear else n, 3))
            functions[-1].return_sequences = bool(self.rng.random() < 0.8)
        for _ in range(self.rng.integers(1, 4)):
            m = int(self.rng.integers(1, 6))
            functions += [self.linear(n, m), *(self.part(m) for _ in range(self.rng.integers(0, 3)))]
            n = m
        functions.append(self.linear(n, self.out))
        if self.rng.random() < 0.4:
            functions.append(self.activation())
        if self.rng.random() < 0.2:  # a user's Function that holds the bias of a Linear
            linears = [f for f in functions if isinstance(f, pk.Linear) and f.bias is not None]
            if linears and linears[-1] is functions[-1]:
                functions.append(Scale(linears[-1].bias, linears[-1].grad_bias))
        if self.rng.random() < 0.2 and not self.words:
            mean, scale = self.rng.normal(size=self.width), self.rng.uniform(0.5, 2, self.width)
            functions.insert(
                0,
                [pk.Standardize(self.width, mean, scale, dtype=self.dtype), pk.BatchNorm(self.width, dtype=self.dtype)][
                    self.rng.integers(2)
                ],
            )
        if self.rng.random() < 0.2 and not self.words:
            functions.insert(0, self.part(self.width))
        while self.rng.random() < 0.3:  # stacks in the stack, and in those
            start, stop = np.sort(self.rng.integers(0, len(functions) + 1, 2))
            functions[start:stop] = [pk.Sequential(functions[start:stop])]
        return pk.Sequential(functions)

    # --- what operations need ---

    def inputs(self):
        batch = int(self.rng.choice([1, 3, 3, 5, 300])) if self.rng.random() < 0.3 else 3
        if self.words:
            return self.rng.integers(0, 7, (batch, 4))
        shape = (batch, 4, self.width) if self.sequences else (batch, self.width)
        x = self.rng.normal(size=shape)
        kind = self.rng.integers(8)
        if kind == 0:
            x = np.asfortranarray(x)
        elif kind == 1:
            x = x.astype(np.float32)
        elif kind == 2:
            x = np.round(3 * x).astype(int)
        elif kind == 3:
            x.flags.writeable = False
        return x

    def upstream(self, shape=None):
        shape = (np.shape(self.y) if self.y is not None else (3, self.out)) if shape is None else shape
        return self.rng.normal(size=shape).astype(self.rng.choice([np.float64, self.dtype]))

    def pick(self, kind=pk.Function):
        parts = [part for part in self.model.walk() if isinstance(part, kind) and part is not self.model]
        return parts[self.rng.integers(len(parts))] if parts else None

    def targets(self):
        return self.rng.uniform(0.1, 0.9, np.shape(self.y)).astype(np.asarray(self.y).dtype)

    # --- operations: each returns what it shows ---

    def forward(self):
        self.y = None
        self.x = self.inputs()
        self.y = self.model(self.x)
        return self.y.copy()

    def backward(self):
        return self.model.compute_backward(self.upstream())

    def accumulate(self):
        self.model.accumulate_grads(self.upstream())

    def step(self):
        self.optimizer.zero_grad()
        self.forward()
        value = self.loss(self.y, self.targets())
        if self.rng.random() < 0.3:  # a penalty, added between
            for p, g in zip(*self.model.get_params_and_grads(), strict=True):
                g += 0.01 * p
        self.model.accumulate_grads(self.loss.compute_backward())
        self.optimizer.step()
        return value

    def train_step(self):
        self.y = None
        self.x = self.inputs()
        step = self.steps
        if step is None or (step.model, step.optimizer) != (self.model, self.optimizer) or self.rng.random() < 0.1:
            step = self.steps = pk.TrainStep(self.model, self.loss, self.optimizer)
        shape = np.shape(self.x) if self.words else np.shape(self.x)[:-1]
        if not all(u.return_sequences for u in self.model.walk() if isinstance(u, pk.Unrolled)):
            shape = shape[:1]
        shape = (*shape, self.out)
        return step(self.x, self.rng.uniform(0.1, 0.9, shape).astype(self.rng.choice([np.float64, self.dtype])))

    def zero(self):
        self.optimizer.zero_grad()

    def update(self):
        self.optimizer.step()

    def predict(self):
        return pk.predict(self.model, self.inputs())

    def alone(self):
        part, x = self.pick(), self.inputs()
        return part(x) if part is not None else None

    def alone_and_back(self):
        part, x = self.pick(), self.inputs()
        y = part(x)
        return part.compute_backward(self.upstream(np.shape(y)))

    def by_hand(self):
        d = self.upstream()
        for function in reversed(self.model.functions):
            d = function.compute_backward(d)
        return d

    def back_of_a_part(self):
        return self.pick().compute_backward(self.upstream())

    def change_parameters(self):
        for p in self.model.get_params_and_grads()[0]:
            p += self.rng.normal(scale=0.1, size=p.shape)

    def change_gradients(self):
        grads = self.model.get_params_and_grads()[1]
        g = grads[self.rng.integers(len(grads))]
        g.reshape(-1)[-1:] = self.rng.choice([0.5, -0.0, 1e-40, 0.0])

    def exchange_part(self):
        i = self.rng.integers(len(self.model.functions))
        old = self.model.functions[i]
        if type(old) is pk.Sequential:  # of which nothing might be left that is trained
            return
        self.model.functions[i] = self.linear(old.n_in, old.n_out) if isinstance(old, pk.Linear) else self.activation()
        self.optimizer = pk.SGD(self.model, lr=0.05)

    def exchange_deep(self):
        part = self.pick((pk.Residual, pk.Sequential))
        new = self.activation()
        if isinstance(part, pk.Residual):
            part.f = new
        elif part is not None:
            part.functions.append(new)

    def exchange_cell(self):
        part = self.pick(pk.Unrolled)
        if part is not None:
            part.cell.n_hidden = part.cell.n_hidden
            part.cell = pk.RNNCell(part.cell.n_in, part.cell.n_hidden, rng=5, dtype=self.dtype)

    def edit_unrolled(self):
        part, kind = self.pick(pk.Unrolled), self.rng.integers(4)
        if part is None:
            return
        if kind == 0:
            part.reverse = not part.reverse
        elif kind == 1:
            part.return_sequences = not part.return_sequences
        elif kind == 2:
            part.state = None
        else:
            part.cell.bias_hh += self.rng.normal(size=part.cell.bias_hh.shape)

    def wrap_cell(self):
        part, kind = self.pick(pk.Unrolled), self.rng.integers(3)
        if part is None:
            return None
        cell, cls, inner = part.cell, type(part.cell), part.cell.compute_forward
        if kind == 0:  # until `unwrap`
            vars(cell)["init_state"] = lambda batch: cls.init_state(cell, batch)
            return None
        owner = cell if kind == 1 else cls
        before = cls.compute_forward
        wrapped = inner if kind == 1 else before
        owner.compute_forward = lambda *args: (lambda out, state: (1.5 * out, state))(*wrapped(*args))
        try:
            return self.forward()
        finally:
            if kind == 1:
                del cell.compute_forward
            else:
                cls.compute_forward = before

    def with_lengths(self):
        self.y = None
        self.x = self.inputs()
        lengths = self.rng.integers(1, 5, len(self.x))
        self.y = self.model(self.x, lengths=lengths)
        return self.y.copy()

    def tie(self):
        """A Linear and the cell after it with one weight."""
        for a, b in itertools.pairwise(self.model.functions):
            if isinstance(a, pk.Linear) and isinstance(b, pk.Unrolled) and a.weight.shape == b.cell.weight_hh.shape:
                vars(b.cell).update(weight_hh=a.weight, grad_weight_hh=a.grad_weight)
                self.optimizer = pk.SGD(self.model, lr=0.05)

    def share(self):
        linears = [i for i, f in enumerate(self.model.functions) if type(f) is pk.Linear]
        a, b = self.rng.choice(linears, 2)
        f, g = self.model.functions[a], self.model.functions[b]
        if a != b and f.weight.shape == g.weight.shape and f.weight.dtype == g.weight.dtype:
            self.model.functions[b] = f.shared_copy()
            self.optimizer = pk.SGD(self.model, lr=0.05)

    def wrap(self):
        part, factor = self.pick(), self.rng.choice([1.0, 1.5])
        name = self.rng.choice(["compute_forward", "compute_backward"])
        inner = getattr(part, name)
        if isinstance(part, pk.Unrolled) or any(part is u.cell for u in self.model.walk() if isinstance(u, pk.Unrolled)):
            return
        vars(part)[name] = lambda *args: factor * inner(*args)

    def unwrap(self):
        for part in self.model.walk():
            for name in METHODS:
                vars(part).pop(name, None)

    def patch_class(self):
        cls = ACTIVATIONS[self.rng.integers(len(ACTIVATIONS))]
        original = cls.compute_forward
        cls.compute_forward = lambda self, x: 0.5 * original(self, x)
        try:
            return self.forward()
        finally:
            cls.compute_forward = original

    def exchange_array(self):
        layer = self.pick((pk.Linear, pk.PReLU, pk.RMSNorm))
        order = self.rng.choice(["C", "F"])
        vars(layer)["weight"] = (layer.weight + 1).copy(order)

    def another_for_one_backward(self):
        layer, d = self.pick((pk.Linear, pk.LeakyReLU, pk.ELU, pk.PReLU, pk.LayerNorm)), self.upstream()
        name = next(name for name in ("weight", "negative_slope", "alpha") if name in vars(layer))
        before = vars(layer)[name]
        vars(layer)[name] = before * 2
        try:
            return self.model.compute_backward(d)
        finally:
            vars(layer)[name] = before

    def setting(self):
        part = self.pick((pk.LeakyReLU, pk.ELU, pk.Softplus, pk.LayerNorm, pk.RMSNorm, pk.BatchNorm, pk.Dropout))
        for name in ("negative_slope", "alpha", "beta", "eps", "momentum", "p"):
            if part is not None and name in vars(part):
                setattr(part, name, float(self.rng.uniform(0.2, 0.9)))

    def astype(self):
        self.dtype = self.rng.choice([np.float64, np.float32])
        self.model.astype(self.dtype)

    def load(self):
        state = self.model.state_dict()
        self.model.load_state_dict({k: v * 0.9 if v.dtype.kind == "f" else v for k, v in state.items()})

    def copy(self):
        wrapped = any(not vars(part).keys().isdisjoint(METHODS) for part in self.model.walk())
        if wrapped:
            return
        duplicate = copy.deepcopy if self.rng.random() < 0.5 else lambda pair: pickle.loads(pickle.dumps(pair))
        self.model, self.optimizer = duplicate((self.model, self.optimizer))

    def misfit(self):
        self.y = None
        self.model(np.ones((3, self.width + 1)))

    def write_into_output(self):
        self.forward()
        self.y *= 2
        return self.model.compute_backward(self.y.copy())

    def write_into_input(self):
        self.forward()
        d = self.upstream()
        if self.x.flags.writeable:
            self.x *= 3
        return self.model.compute_backward(d)

    def write_into_prediction(self):
        self.forward()
        t = self.targets()
        value = self.loss(self.y, t)
        self.y *= 2
        t += 1
        return value, self.loss.compute_backward()

    def freeze(self):
        part = self.pick()
        (part if self.rng.random() < 0.9 and part is not None else self.model).freeze(bool(self.rng.integers(2)))

    def mode(self):
        part = self.pick()
        (part if self.rng.random() < 0.5 and part is not None else self.model).train(bool(self.rng.integers(2)))

    def plain_for_a_while(self):
        d = self.upstream()
        with pk.fast.off():
            return self.model.compute_backward(d)

    def plainly_forward(self):
        with pk.fast.off():
            return self.forward()

    def slice(self):
        part = self.model[: self.rng.integers(1, len(self.model.functions) + 1)]
        return part(self.inputs())

    # --- running ---

    OFTEN = ("forward", "backward", "accumulate", "step", "step", "train_step", "train_step", "predict")

    def run(self, length):
        names = [n for n in vars(World) if n not in HELPERS and not n.startswith("_")]
        for _ in range(length):
            often = self.rng.random() < 0.5
            name = self.OFTEN[self.rng.integers(len(self.OFTEN))] if often else names[self.rng.integers(len(names))]
            following = np.random.default_rng(self.rng.integers(2**32))  # whatever is drawn before a refusal
            with np.errstate(all="ignore"), contextlib.nullcontext() if self.fast else pk.fast.off():
                try:
                    shown = getattr(self, name)()
                except REFUSALS as error:
                    shown = type(error).__name__
            self.rng = following
            yield name, shown, self.seen()

    def seen(self):
        params, grads = self.model.get_params_and_grads()
        buffers = [getattr(part, name) for part in self.model.walk() for name in part.buffers]
        unrolled = [part for part in self.model.walk() if isinstance(part, pk.Unrolled)]
        states = [np.ravel([] if s is None else s) for u in unrolled for s in (u.state, u.dObj_dState)]
        return [array.copy() for array in (*params, *grads, *buffers, *states)]


HELPERS = {"unrolled", "linear", "activation", "part", "stack", "inputs", "upstream", "pick", "targets", "run", "seen", "OFTEN"}


def arrays(shown):
    if shown is None or isinstance(shown, str):
        return []
    return [np.asarray(a) for a in (shown if isinstance(shown, tuple) else (shown,))]


def difference(seed, length=25):
    """What differs between the two paths, as text; None if nothing does."""
    with np.errstate(all="ignore"):
        worlds = World(seed, True), World(seed, False)
    done = []
    for (name, a, seen_a), (_, b, seen_b) in zip(*(world.run(length) for world in worlds), strict=True):
        done.append(name)
        refused = [shown if isinstance(shown, str) else "a result" for shown in (a, b)]
        if refused[0] != refused[1]:
            return f"seed {seed}, {done}: {refused[0]} against {refused[1]}"
        pairs = list(zip(arrays(a) + seen_a, arrays(b) + seen_b, strict=True))
        largest = np.max([0, *(np.abs(q).max(initial=0) for _, q in pairs if q.dtype.kind == "f")])  # nan, if there is one
        if not largest <= 1e3:
            return None  # plain numbers that have run away say nothing any more
        for i, (p, q) in enumerate(pairs):
            double = worlds[0].dtype == p.dtype == np.float64 and not was_single(seed, done)
            tolerance = 1e-10 if double else 2e-3  # rounding grows from step to step
            rounding = tolerance * max(1, largest)  # what cancels out, as before a BatchNorm, is the rounding of large numbers
            if p.shape != q.shape or p.dtype != q.dtype or not np.allclose(p, q, rtol=tolerance, atol=rounding, equal_nan=True):
                if (
                    p.shape == q.shape
                    and p.dtype == q.dtype
                    and np.abs(p - q).max() < 10 * what_rounding_does(seed, len(done), i)
                ):
                    return None  # nor do those that depend on how a number was rounded
                where = "result" if i < len(arrays(a)) else f"array {i - len(arrays(a))}"
                return (
                    f"seed {seed}, {done}: {where} {p.dtype}{p.shape} {p.ravel()[:4]} against {q.dtype}{q.shape} {q.ravel()[:4]}"
                )
    return None


def what_rounding_does(seed, length, i):
    """How far an array is moved after so many operations, all by the plain layers, if the net begins with other last digits."""
    with np.errstate(all="ignore"):
        worlds = World(seed, False), World(seed, False)
    for p in worlds[1].model.get_params_and_grads()[0]:
        p *= 1 + np.finfo(p.dtype).eps
    (_, a, seen_a), (_, b, seen_b) = [list(world.run(length))[-1] for world in worlds]
    pairs = list(zip(arrays(a) + seen_a, arrays(b) + seen_b, strict=True))
    return np.abs(pairs[i][0] - pairs[i][1]).max()


def was_single(seed, done):
    return np.random.default_rng(seed).choice([np.float64, np.float64, np.float32]) == np.float32 or "astype" in done
