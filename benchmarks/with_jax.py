"""JAX: forward, backward and optimizer compiled to one function, to which each step gives its memory."""

import jax
import jax.numpy as jnp
from workloads import BETA1, BETA2, EPSILON, Training, binary, data, initial

jax.config.update("jax_enable_x64", True)  # arrays keep the dtype that they are made with


def stack(workload, parameters, x):
    """The logits of linear layers with an activation between them."""
    activation = jax.nn.relu if workload.activation == "relu" else jnp.tanh
    *hidden, (W, b) = zip(parameters[::2], parameters[1::2], strict=True)
    for weight, bias in hidden:
        x = activation(x @ weight.T + bias)
    return x @ W.T + b


def recurrent(workload, parameters, words):
    """The logits (T B, C) of an embedding, a recurrent layer and a linear layer."""
    table, W_ih, W_hh, b_ih, b_hh, W_out, b_out = parameters
    z = table[words.T] @ W_ih.T + b_ih + b_hh
    zeros = jnp.zeros((words.shape[0], workload.sizes[2]), z.dtype)

    def rnn(h, z_t):
        h = jnp.tanh(z_t + h @ W_hh.T)
        return h, h

    def lstm(state, z_t):
        h, c = state
        i, f, g, o = jnp.split(z_t + h @ W_hh.T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    _, h = jax.lax.scan(lstm, (zeros, zeros), z) if workload.kind == "lstm" else jax.lax.scan(rnn, zeros, z)
    return (h @ W_out.T + b_out).reshape(-1, workload.sizes[3])


class WithJax(Training):
    def __init__(self, workload):
        self.workload, self.initial = workload, list(initial(workload).values())
        x, y = data(workload)
        self.x, self.y = jnp.asarray(x), jnp.asarray(y.T.ravel() if workload.length else y)
        self.logits = recurrent if workload.length else stack
        self.compiled = jax.jit(self.prediction) if workload.kind == "predict" else jax.jit(self.training, donate_argnums=0)

    def reset(self):
        self.state = [jnp.array(array) for array in self.initial]
        if self.workload.kind != "predict":
            moments = [jnp.zeros_like(p) for p in self.state] if self.workload.optimizer == "adam" else []
            self.state = self.state, moments, [m.copy() for m in moments], jnp.zeros((), self.workload.dtype)

    def objective(self, parameters, x, y):
        z = self.logits(self.workload, parameters, x)
        if binary(self.workload):
            return jnp.mean(jnp.logaddexp(z, 0) - z * y)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))

    def training(self, state, x, y):
        parameters, m, v, t = state
        objective, gradients = jax.value_and_grad(self.objective)(parameters, x, y)
        lr = self.workload.lr
        if self.workload.optimizer == "sgd":
            return ([p - lr * g for p, g in zip(parameters, gradients, strict=True)], m, v, t), objective
        t = t + 1
        m = [BETA1 * m + (1 - BETA1) * g for m, g in zip(m, gradients, strict=True)]
        v = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(v, gradients, strict=True)]
        c1, c2 = 1 - BETA1**t, 1 - BETA2**t
        parameters = [p - lr * (m / c1) / (jnp.sqrt(v / c2) + EPSILON) for p, m, v in zip(parameters, m, v, strict=True)]
        return (parameters, m, v, t), objective

    def prediction(self, parameters, x):
        return jax.nn.sigmoid(stack(self.workload, parameters, x))

    def step(self):
        if self.workload.kind == "predict":
            return self.compiled(self.state, self.x).block_until_ready()
        self.state, objective = self.compiled(self.state, self.x, self.y)
        return objective

    def run(self, steps):
        super().run(steps)
        jax.block_until_ready(self.state)


build = WithJax
