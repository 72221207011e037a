"""The yardstick: the workloads in NumPy, written by hand, and by somebody who knows what NumPy is fast at.

Nothing here is a library. Every array is made before the first step, and a step only fills arrays. All parameters lie in
one vector and all gradients in another, so that the optimizer needs one call for an operation and not one for each array.
Methods are looked up once, a call takes the array to write to as its last argument, and a derivative is computed in
the place of what it is the derivative of.

What pancake has learnt since these loops were written is not in them, so that ratios can be compared from version to version:
features first for a batch, rows in blocks, `maximum` of two arrays. So it may be below 1.

B examples of a batch, T time steps, N = B T, I inputs of a layer, O outputs, H hidden units, C classes, V words, E features
of a word.
"""

import math

import numpy as np
from workloads import BETA1, BETA2, EPSILON, Training, binary, data, initial

add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
dot, matmul, tanh, maximum, sign, greater = np.dot, np.matmul, np.tanh, np.maximum, np.sign, np.greater
add_reduce = np.add.reduce

# Operations on vectors longer than this go piece by piece, so that a piece stays in cache from the first to the last.
PIECE = 1 << 16


class Loop(Training):
    """A step, the parameters that `reset` takes back to the start, how the optimizer forgets, and the arrays of a batch."""

    def __init__(self, workload, step, parameters=None, forget=None, batch=None):
        self.workload, self.step, self.batch = workload, step, batch
        self.parameters, self.forget = parameters, forget
        self.start = None if parameters is None else parameters.copy()

    def reset(self):
        if self.parameters is not None:
            self.parameters[...] = self.start
            self.forget()


def build(workload):
    return {"mlp": mlp, "rnn": rnn, "lstm": lstm, "predict": predict}[workload.kind](workload)


# --- what the workloads share: parameters in one vector, optimizers, losses ---


def side_by_side(arrays):
    """The arrays in one vector, a vector for their gradients, and the views of each array in the two."""
    vector = np.concatenate([array.ravel() for array in arrays])
    gradients = np.zeros_like(vector)
    ends = np.cumsum([array.size for array in arrays])[:-1]
    views = [
        [part.reshape(array.shape) for part, array in zip(np.split(v, ends), arrays, strict=True)] for v in (vector, gradients)
    ]
    return vector, gradients, *views


def pieces(*vectors):
    """The vectors cut into pieces, each set of pieces with a vector of the same length to compute in."""
    work = np.empty_like(vectors[0][:PIECE])
    for start in range(0, vectors[0].size, PIECE):
        cut = [vector[start : start + PIECE] for vector in vectors]
        yield *cut, work[: cut[0].size]


def sgd(p, g, lr):
    """Gradient descent, p <- p - lr g. Returns a function that makes a step, and one that forgets all steps."""
    lr = np.array(lr, p.dtype)  # an operand without axes costs less than a Python number
    parts = list(pieces(p, g))

    def step():
        for p, g, work in parts:
            multiply(g, lr, work)
            subtract(p, work, p)

    return step, lambda: None


def adam(p, g, lr):
    """Adam: m <- beta1 m + g;  v <- beta2 v + g^2;  p <- p - c m / (sqrt(v) + e). Returns the same two functions.

    The textbook's factors 1 - beta and its corrections of the first steps are in the numbers c and e.
    """
    all_m, all_v = np.zeros_like(p), np.zeros_like(p)
    beta1, beta2, c, e = np.array(BETA1, p.dtype), np.array(BETA2, p.dtype), np.empty((), p.dtype), np.empty((), p.dtype)
    parts = list(pieces(p, g, all_m, all_v))
    power1 = power2 = 1.0  # beta^t
    square_root, vector_root = math.sqrt, np.sqrt

    def step():
        nonlocal power1, power2
        power1 *= BETA1
        power2 *= BETA2
        root = square_root((1 - BETA2) / (1 - power2))
        c[()] = lr * (1 - BETA1) / ((1 - power1) * root)
        e[()] = EPSILON / root
        for p, g, m, v, work in parts:
            multiply(m, beta1, m)
            add(m, g, m)
            multiply(v, beta2, v)
            multiply(g, g, work)
            add(v, work, v)
            vector_root(v, work)
            add(work, e, work)
            divide(m, work, work)
            multiply(work, c, work)
            subtract(p, work, p)

    def reset():
        nonlocal power1, power2
        all_m.fill(0)
        all_v.fill(0)
        power1 = power2 = 1.0

    return step, reset


def optimizer(workload, parameters, gradients):
    return (adam if workload.optimizer == "adam" else sgd)(parameters, gradients, workload.lr)


def binary_cross_entropy(logits, targets):
    """A function that returns the mean over a batch and turns the logits (1, B) into their gradient; targets (1, B)."""
    zero, half, share = (np.array(value, logits.dtype) for value in (0, 0.5, 1 / logits.size))
    softplus, inverse = np.empty_like(logits), 1 / logits.size
    logits_dot, flat_targets, logaddexp = logits.reshape(-1).dot, targets.reshape(-1), np.logaddexp

    def loss():
        # mean of log(1 + exp(z)) - z t
        logaddexp(logits, zero, softplus)
        objective = float(add_reduce(softplus, None) - logits_dot(flat_targets)) * inverse
        # (sigmoid(z) - t) / B, with sigmoid(z) = (1 + tanh(z / 2)) / 2
        multiply(logits, half, logits)
        tanh(logits, logits)
        multiply(logits, half, logits)
        add(logits, half, logits)
        subtract(logits, targets, logits)
        multiply(logits, share, logits)
        return objective

    return loss


def cross_entropy(logits, labels):
    """A function that returns the mean over a batch and turns the logits (C, N) into their gradient; labels (N,).

    Classes come first because NumPy reduces over a first axis twice as fast as over a short last one.
    """
    _, n = logits.shape
    largest, total, right_logits = (np.empty(n, logits.dtype) for _ in range(3))
    columns, right = np.arange(n), np.empty(n, np.intp)
    one, share, flat = np.array(1, logits.dtype), np.array(1 / n, logits.dtype), logits.reshape(-1)
    take, maximum_reduce, exp, log = flat.take, np.maximum.reduce, np.exp, np.log

    def loss():
        # mean of log sum_c exp(z_c) - z_label
        maximum_reduce(logits, 0, None, largest)
        subtract(logits, largest, logits)
        multiply(labels, n, right)
        add(right, columns, right)
        take(right, None, right_logits, "clip")
        exp(logits, logits)
        add_reduce(logits, 0, None, total)
        # (softmax(z) - the right class) / N
        divide(logits, total, logits)
        flat[right] -= one
        multiply(logits, share, logits)
        log(total, total)
        return float(add_reduce(total) - add_reduce(right_logits)) / n

    return loss


# --- W1 to W6 ---


def mlp(workload):
    """Linear layers with an activation between them."""
    x, y = data(workload)
    arrays = initial(workload).values()
    # Weights are (I, O) here: the product x W is then up to twice as fast on small layers.
    vector, gradients, params, grads = side_by_side([a.T if a.ndim == 2 else a for a in arrays])
    weights, biases, grad_weights, grad_biases = params[::2], params[1::2], grads[::2], grads[1::2]
    optimize, forget = optimizer(workload, vector, gradients)
    relu = workload.activation == "relu"

    B, dtype = len(x), x.dtype
    hidden = [np.empty((B, n), dtype) for n in workload.sizes[1:-1]]
    inputs = [x, *hidden]  # of each layer
    derivatives = [np.empty_like(a) for a in hidden]  # of what comes out of each layer but the last
    logits = np.empty((workload.sizes[-1], B), dtype)  # class by class
    if binary(workload):
        loss = binary_cross_entropy(logits, np.ascontiguousarray(y.T))
    else:
        loss = cross_entropy(logits, y)
    zero, one, ones_dot = np.array(0, dtype), np.array(1, dtype), np.ones(B, dtype).dot

    # what each layer but the last needs, and then the last
    forward = [(a.dot, W, b, out) for a, W, b, out in zip(inputs, weights, biases, hidden, strict=False)]
    last_W_dot, last_b, last_in = weights[-1].T.dot, biases[-1][:, np.newaxis], inputs[-1].T
    # sign(a) is the slope of a ReLU and costs half of a comparison on small arrays, but twice as much on large ones
    backward = [
        (above.dot, W.T, a, d, np.empty_like(a), a.size < 3000, before.T.dot, grad_W, grad_b)
        for above, W, a, d, before, grad_W, grad_b in zip(
            [*derivatives[1:], logits.T], weights[1:], hidden, derivatives, inputs, grad_weights, grad_biases, strict=False
        )
    ][::-1]
    last_in_dot, last_d, last_grad_W, last_grad_b = inputs[-1].T.dot, logits.T, grad_weights[-1], grad_biases[-1]

    def step():
        for a_dot, W, b, out in forward:
            a_dot(W, out)  # (B, I) (I, O)
            add(out, b, out)
            if relu:
                maximum(out, zero, out=out)
            else:
                tanh(out, out)
        last_W_dot(last_in, logits)  # (C, I) (I, B)
        add(logits, last_b, logits)

        objective = loss()

        last_in_dot(last_d, last_grad_W)  # (I, B) (B, C)
        ones_dot(last_d, last_grad_b)  # (B,) (B, C): a sum over the examples, faster than `sum`
        for above_dot, W_T, a, d, slope, small, before_dot, grad_W, grad_b in backward:
            above_dot(W_T, d)  # (B, O) (O, I)
            if relu:
                if small:
                    sign(a, slope)
                else:
                    greater(a, zero, slope)
            else:
                multiply(a, a, slope)
                subtract(one, slope, slope)
            multiply(d, slope, d)
            before_dot(d, grad_W)  # (I, B) (B, O)
            ones_dot(d, grad_b)

        optimize()
        return objective

    return Loop(workload, step, vector, forget, (x, y))


# --- W7 and W8: words, a recurrent layer, a linear layer on its output of each time step ---


def embedding_backward(words, derivative, grad):
    """A function that fills the gradient (V, E) of an embedding, for words (N,) and the derivative of its output (N, E)."""
    V, E = grad.shape
    if V > 256:
        flat, places = grad.reshape(-1), (words[:, np.newaxis] * E + np.arange(E)).reshape(-1)

        def backward():
            grad.fill(0)
            np.add.at(flat, places, derivative.reshape(-1))

    else:  # the sum over each word is a product with a table (N, V) of which word stands where
        table = np.zeros((len(words), V), grad.dtype)
        flat, rows, places, one = table.reshape(-1), np.arange(len(words)) * V, np.empty_like(words), np.array(1, grad.dtype)

        def backward():
            add(rows, words, places)
            table.fill(0)
            flat[places] = one
            dot(table.T, derivative, grad)

    return backward


def rnn(workload):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)."""
    words, y = (array.T.ravel() for array in data(workload))  # (N,), time step by time step
    table, W_ih, W_hh, b_ih, b_hh, W_out, b_out = initial(workload).values()
    vector, gradients, params, grads = side_by_side([table, W_ih.T, W_hh.T, b_ih, b_hh, W_out.T, b_out])
    table, W_ih, W_hh, b_ih, b_hh, W_out, b_out = params
    grad_table, grad_W_ih, grad_W_hh, grad_b_ih, grad_b_hh, grad_W_out, grad_b_out = grads
    optimize, forget = optimizer(workload, vector, gradients)

    T, B, (_, E, H, C), dtype = workload.length, workload.batch, workload.sizes, vector.dtype
    N = T * B
    x, dx = np.empty((N, E), dtype), np.empty((N, E), dtype)
    z = np.empty((T, B, H), dtype)  # W_ih x + b of all time steps
    h = np.zeros((T + 1, B, H), dtype)  # h[0] is the initial state, zeros
    dh = np.empty((T, B, H), dtype)  # the derivative of h[1:], and then that of the argument of tanh
    slope = np.empty((T, B, H), dtype)
    logits, work, b, W_hh_T = np.empty((C, N), dtype), np.empty((B, H), dtype), np.empty(H, dtype), np.empty((H, H), dtype)
    z_rows, dh_rows, slope_rows = (array.reshape(N, H) for array in (z, dh, slope))
    before, after = h[:-1].reshape(N, H), h[1:].reshape(N, H)
    before_T, after_T, x_T, d_out, b_out = before.T, after.T, x.T, logits.T, b_out[:, np.newaxis]
    W_out_T, W_ih_T = W_out.T, W_ih.T
    loss, words_backward = cross_entropy(logits, y), embedding_backward(words, dx, grad_table)
    one, ones_dot, take = np.array(1, dtype), np.ones(N, dtype).dot, table.take
    forward = [(h[t], z[t], h[t + 1]) for t in range(1, T)]
    backward = [(dh[t], slope[t], dh[t - 1]) for t in range(T - 1, 0, -1)]

    def step():
        take(words, 0, x, "clip")
        dot(x, W_ih, z_rows)  # (N, E) (E, H)
        add(b_ih, b_hh, b)
        add(z_rows, b, z_rows)
        tanh(z[0], h[1])
        for h_t, z_t, h_next in forward:
            dot(h_t, W_hh, work)  # (B, H) (H, H)
            add(work, z_t, work)
            tanh(work, h_next)
        dot(W_out_T, after_T, logits)  # (C, H) (H, N)
        add(logits, b_out, logits)

        objective = loss()

        dot(after_T, d_out, grad_W_out)  # (H, N) (N, C)
        ones_dot(d_out, grad_b_out)
        dot(d_out, W_out_T, dh_rows)  # (N, C) (C, H)
        multiply(after, after, slope_rows)
        subtract(one, slope_rows, slope_rows)
        W_hh_T[...] = W_hh.T  # a copy in the order in which the loop reads it
        for dh_t, slope_t, dh_before in backward:
            multiply(dh_t, slope_t, dh_t)
            dot(dh_t, W_hh_T, work)
            add(dh_before, work, dh_before)
        multiply(dh[0], slope[0], dh[0])
        dot(before_T, dh_rows, grad_W_hh)  # (H, N) (N, H): the sum over all time steps is one product
        dot(x_T, dh_rows, grad_W_ih)
        ones_dot(dh_rows, grad_b_ih)
        grad_b_hh[...] = grad_b_ih
        dot(dh_rows, W_ih_T, dx)
        words_backward()

        optimize()
        return objective

    return Loop(workload, step, vector, forget)


def lstm(workload):
    """c_t = f c_(t-1) + i g and h_t = o tanh(c_t), where i, f, o are sigmoids and g a tanh of W_ih x_t + b_ih + W_hh h + b_hh."""
    words, y = (array.T.ravel() for array in data(workload))  # (N,), time step by time step
    T, B, (_, E, H, C) = workload.length, workload.batch, workload.sizes
    N = T * B

    # Each gate has a matrix of its own, (4, I, H) in the order i, f, o, g, so that each is in one piece in memory.
    def by_gate(array):
        return np.stack([array[gate * H : (gate + 1) * H].T for gate in (0, 1, 3, 2)])

    table, W_ih, W_hh, b_ih, b_hh, W_out, b_out = initial(workload).values()
    b_ih, b_hh = by_gate(b_ih[:, np.newaxis]), by_gate(b_hh[:, np.newaxis])
    vector, gradients, params, grads = side_by_side([table, by_gate(W_ih), by_gate(W_hh), b_ih, b_hh, W_out.T, b_out])
    table, W_ih, W_hh, b_ih, b_hh, W_out, b_out = params
    grad_table, grad_W_ih, grad_W_hh, grad_b_ih, grad_b_hh, grad_W_out, grad_b_out = grads
    optimize, forget = optimizer(workload, vector, gradients)
    dtype = vector.dtype

    x, dx, dx_of_gates = np.empty((N, E), dtype), np.empty((N, E), dtype), np.empty((4, N, E), dtype)
    a = np.empty((4, T, B, H), dtype)  # the arguments of the gates of all time steps, and then the gates
    q = np.empty_like(a)  # what dc or dh is multiplied by, and then the derivative of those arguments
    h, c = np.zeros((T + 1, B, H), dtype), np.zeros((T + 1, B, H), dtype)  # [0] is the initial state, zeros
    tanh_c, dh, o_slope = (np.empty((T, B, H), dtype) for _ in range(3))  # o_slope is dh / dc
    logits = np.empty((C, N), dtype)
    work4, work, dc, dc_next, dh_next = np.empty((4, B, H), dtype), *(np.empty((B, H), dtype) for _ in range(4))
    # sigmoid(z) = (1 + tanh(z / 2)) / 2: with halves in copies of the weights, one tanh does all gates
    halves = np.array([0.5, 0.5, 0.5, 1], dtype).reshape(4, 1, 1)
    half_W_ih, half_W_hh, b = np.empty_like(W_ih), np.empty_like(W_hh), np.empty_like(b_ih)
    W_ih_T, W_hh_T = np.empty((4, H, E), dtype), np.empty((4, H, H), dtype)

    a_rows, q_rows = a.reshape(4, N, H), q.reshape(4, N, H)
    tanh_c_rows, dh_rows, o_slope_rows = (array.reshape(N, H) for array in (tanh_c, dh, o_slope))
    i, _, o, g = a_rows
    q_i, q_f, q_o, q_g = q_rows
    sigmoids, q_sigmoids = a_rows[:3], q_rows[:3]
    before, after, c_before = h[:-1].reshape(N, H), h[1:].reshape(N, H), c[:-1].reshape(N, H)
    before_T, after_T, x_T, d_out, b_out, W_out_T = before.T, after.T, x.T, logits.T, b_out[:, np.newaxis], W_out.T
    loss, words_backward = cross_entropy(logits, y), embedding_backward(words, dx, grad_table)
    one, half, ones_dot, take = np.array(1, dtype), np.array(0.5, dtype), np.ones(N, dtype).dot, table.take
    forward = [(h[t], a[:, t], a[:3, t], *a[:, t], c[t], c[t + 1], tanh_c[t], h[t + 1]) for t in range(T)]
    backward = [(dh[t], o_slope[t], a[1, t], q[:, t], q[:2, t], q[2, t], q[3, t]) for t in range(T - 1, -1, -1)]

    def step():
        take(words, 0, x, "clip")
        multiply(W_ih, halves, half_W_ih)
        multiply(W_hh, halves, half_W_hh)
        add(b_ih, b_hh, b)
        multiply(b, halves, b)
        matmul(x, half_W_ih, a_rows)  # (N, E) (4, E, H)
        add(a_rows, b, a_rows)
        for h_t, a_t, sigmoids_t, i_t, f_t, o_t, g_t, c_t, c_next, tanh_c_t, h_next in forward:
            matmul(h_t, half_W_hh, work4)  # (B, H) (4, H, H)
            add(a_t, work4, a_t)
            tanh(a_t, a_t)
            multiply(sigmoids_t, half, sigmoids_t)
            add(sigmoids_t, half, sigmoids_t)
            multiply(i_t, g_t, work)
            multiply(f_t, c_t, c_next)
            add(c_next, work, c_next)
            tanh(c_next, tanh_c_t)
            multiply(o_t, tanh_c_t, h_next)
        dot(W_out_T, after_T, logits)  # (C, H) (H, N)
        add(logits, b_out, logits)

        objective = loss()

        dot(after_T, d_out, grad_W_out)  # (H, N) (N, C)
        ones_dot(d_out, grad_b_out)
        dot(d_out, W_out_T, dh_rows)  # (N, C) (C, H)
        # the slopes of all gates and time steps, s (1 - s) and 1 - g^2, times what each gate is multiplied by
        multiply(a_rows, a_rows, q_rows)
        subtract(sigmoids, q_sigmoids, q_sigmoids)
        subtract(one, q_g, q_g)
        multiply(q_i, g, q_i)
        multiply(q_f, c_before, q_f)
        multiply(q_o, tanh_c_rows, q_o)
        multiply(q_g, i, q_g)
        multiply(tanh_c_rows, tanh_c_rows, o_slope_rows)
        subtract(one, o_slope_rows, o_slope_rows)
        multiply(o_slope_rows, o, o_slope_rows)
        W_hh_T[...] = W_hh.swapaxes(1, 2)
        W_ih_T[...] = W_ih.swapaxes(1, 2)
        dh_next.fill(0)
        dc_next.fill(0)
        for dh_t, o_slope_t, f_t, q_t, q_if_t, q_o_t, q_g_t in backward:
            add(dh_t, dh_next, dh_t)
            multiply(dh_t, o_slope_t, dc)
            add(dc, dc_next, dc)
            multiply(q_if_t, dc, q_if_t)
            multiply(q_g_t, dc, q_g_t)
            multiply(q_o_t, dh_t, q_o_t)
            multiply(dc, f_t, dc_next)
            matmul(q_t, W_hh_T, work4)  # (4, B, H) (4, H, H)
            add_reduce(work4, 0, None, dh_next)
        matmul(before_T, q_rows, grad_W_hh)  # (H, N) (4, N, H): the sum over all time steps is one product a gate
        matmul(x_T, q_rows, grad_W_ih)
        add_reduce(q_rows, 1, None, grad_b_ih, True)
        grad_b_hh[...] = grad_b_ih
        matmul(q_rows, W_ih_T, dx_of_gates)
        add_reduce(dx_of_gates, 0, None, dx)
        words_backward()

        optimize()
        return objective

    return Loop(workload, step, vector, forget)


# --- W9 ---


def predict(workload):
    """The forward of a stack, ending in a sigmoid."""
    x, _ = data(workload)
    dtype, arrays = x.dtype, [array.T.copy() for array in initial(workload).values()]
    outputs = [np.empty((len(x), n), dtype) for n in workload.sizes[1:]]
    *hidden, (last_dot, last_W, last_b, y) = zip([a.dot for a in (x, *outputs)], arrays[::2], arrays[1::2], outputs, strict=False)
    zero, half, relu = np.array(0, dtype), np.array(0.5, dtype), workload.activation == "relu"

    def step():
        for a_dot, W, b, out in hidden:
            a_dot(W, out)  # (B, I) (I, O)
            add(out, b, out)
            if relu:
                maximum(out, zero, out=out)
            else:
                tanh(out, out)
        last_dot(last_W, y)
        add(y, last_b, y)
        multiply(y, half, y)
        tanh(y, y)
        multiply(y, half, y)
        add(y, half, y)
        return y

    return Loop(workload, step)
