"""Attention: every step of a sequence looks at the others, and takes from those that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pancake.arguments import Rng, flag, generator, sequence_lengths, size
from pancake.attributes import checked, parameter
from pancake.function import rows, total, wide
from pancake.functions.containers import Container
from pancake.functions.linear import Linear
from pancake.initializers import glorot_uniform
from pancake.memory import Array


class MultiHeadAttention(Container):
    """y = [o_1, o_2, ...] W_out^T + b_out, with o = P v and P = softmax(q k^T / sqrt(D)) for each of H heads.

    Step i asks for something, q_i; every step j says what it has to offer, k_j, and hands over v_j. P_ij is how much i takes
    of j, from 0 to 1, and over all j together 1. All three are made of x by one product, x W_in^T + b_in = [q, k, v], and each
    head has D = F / H columns of each.

    The derivatives are those of two products and a softmax. With d_o = dObj_dOut W_out, cut into heads as o is,

        d_v = P^T d_o        d_P = d_o v^T        d_S = P (d_P - sum_j P d_P)
        d_q = d_S k / sqrt(D)        d_k = d_S^T q / sqrt(D)        dObj_dIn = [d_q, d_k, d_v] W_in

    and W_in, W_out have the gradients of linear layers. What may not be seen has a score of -inf, so P = 0 there and nothing
    flows: with `causal` all that comes later, j > i, and with lengths whatever stands past the end of a sequence. Rows past
    the end put out zeros and pass no gradient.

    Shape
    -----
    x, y : (B, T, F);  q, k, v, o : (B, H, T, D);  P : (B, H, T, T), j before i in memory;  W_in : (3 F, F);  W_out : (F, F)

    Parameters
    ----------
    n : int
        F, the number of features; H divides it.
    heads : int
        H.
    causal : bool
        Whether a step sees itself and those before it only.
    bias : bool
        Whether to add b_in and b_out.
    rng : None, int or numpy.random.Generator
        The weights are drawn by `glorot_uniform`; biases start at 0.
    dtype : floating dtype

    Attributes
    ----------
    in_proj_weight, grad_in_proj_weight : ndarray (3 F, F)
    in_proj_bias, grad_in_proj_bias : ndarray (3 F,), or None without bias
    out_proj : Linear
        W_out and b_out.

    Raises
    ------
    TypeError
        If `lengths` are not whole numbers.
    ValueError
        If H does not divide F, the input is not (B, T, F), or the lengths are not from 1 to T.

    References
    ----------
    Vaswani et al., "Attention Is All You Need" (2017), equation 1 and section 3.2.2.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html, called with (x, x, x)
    """

    in_proj_weight: Array = parameter()
    grad_in_proj_weight: Array = parameter()
    in_proj_bias: Array = parameter()
    grad_in_proj_bias: Array = parameter()

    causal: bool = checked(flag)

    def __init__(
        self,
        n: int,
        heads: int,
        *,
        causal: bool = False,
        bias: bool = True,
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        n, heads = self.n, self.heads = size(self, n=n), size(self, heads=heads)
        if n % heads:
            raise ValueError(f"MultiHeadAttention: expected heads that divide the number of features, got {heads} heads for {n}")
        self.causal, self.bias = causal, flag(self, "bias", bias)
        self.make_parameters(dtype, in_proj_weight=(3 * n, n), in_proj_bias=(3 * n,) if bias else None)
        rng = generator(self, rng)
        self.out_proj = Linear(n, n, bias=bias, init="glorot_uniform", rng=0, dtype=dtype)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weights anew, and set the biases back to 0."""
        rng = generator(self, rng)
        self.in_proj_weight = glorot_uniform(self.n, 3 * self.n, rng)
        if self.bias:
            self.in_proj_bias.fill(0)
        self.out_proj.reset_parameters(rng)

    def compute_forward(self, x: Any, lengths: ArrayLike | None = None) -> Array:
        """Let every step look at the others; the lengths (B,) of sequences, where there are any, hide what stands past them."""
        x = self._sequences(x)
        valid = self._valid(x, lengths)
        x = self._only(valid, x)
        qkv = rows(x) @ self.in_proj_weight.T
        if self.bias:
            qkv += self.in_proj_bias
        q, k, v = self._heads(qkv.reshape(*x.shape[:2], -1)).copy()
        q /= np.sqrt(self.n / self.heads).astype(q.dtype)
        p = k @ transposed(q)  # the scores, (B, H, j, i): NumPy adds up fastest over an axis that is not the last
        p += self._hidden(x, valid)
        p -= p.max(axis=-2, keepdims=True)  # exp cannot overflow, and the softmax is the same
        np.exp(p, out=p)
        p /= p.sum(axis=-2, keepdims=True, dtype=wide(p.dtype)).astype(p.dtype, copy=False)
        o = transposed(p) @ v
        y = self._only(valid, self.out_proj.compute_forward(o.swapaxes(1, 2).reshape(x.shape)))
        self._remember(x, (q, k, v, p, valid))  # those in the tuple have never been outside, and need no copy
        return y

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, (q, k, v, p, valid) = self._remembered()
        d = self._only(valid, self._upstream(dObj_dOut, x.shape, x.dtype))
        d_o = self._heads(self.out_proj.compute_backward(d))[0].copy()
        d_v = p @ d_o
        d_p = v @ transposed(d_o)
        d_s = p * d_p
        d_s -= p * d_s.sum(axis=-2, keepdims=True, dtype=wide(p.dtype)).astype(p.dtype, copy=False)
        d_q = transposed(d_s) @ k / np.sqrt(self.n / self.heads).astype(k.dtype)
        d_k = d_s @ q  # which the root has divided already
        d_qkv = np.empty((*x.shape[:2], 3 * self.n), x.dtype)
        for place, gradient in zip(self._heads(d_qkv), (d_q, d_k, d_v), strict=True):
            place[...] = gradient
        self.grad_in_proj_weight += rows(d_qkv).T @ rows(x)
        if self.bias:
            self.grad_in_proj_bias += total(d_qkv)
        return (rows(d_qkv) @ self.in_proj_weight).reshape(x.shape)

    def _takes_lengths(self) -> bool:
        return True

    # --- heads, and what they may see ---

    def _heads(self, a: Array) -> Array:
        """Columns (B, T, N F) as N arrays (B, H, T, D) which lie in the same memory."""
        B, T, _ = a.shape
        return a.reshape(B, T, -1, self.heads, self.n // self.heads).transpose(2, 0, 3, 1, 4)

    def _hidden(self, x: Array, valid: Any) -> Array:
        """What is added to the scores (B, H, j, i): -inf where step i may not see step j, else 0."""
        T = x.shape[1]
        later = np.arange(T)[:, np.newaxis] > np.arange(T) if self.causal else np.zeros((1, 1), bool)
        unseen = later if valid is None else later | ~valid[:, np.newaxis, :, np.newaxis]
        return np.where(unseen, -np.inf, 0).astype(x.dtype)

    def _valid(self, x: Array, lengths: ArrayLike | None) -> Any:
        """Which steps belong to their sequence, (B, T); None if all do."""
        if lengths is None:
            return None
        B, T, _ = x.shape
        return np.arange(T) < sequence_lengths(self, lengths, B, T)[:, np.newaxis]

    def _only(self, valid: Any, a: Array) -> Array:
        """The steps (B, T, F) that are valid, zeros for the others."""
        return a if valid is None else np.where(valid[..., np.newaxis], a, 0)

    def _sequences(self, x: Any) -> Array:
        """The input as an array (B, T, F), else refused."""
        x = self._floats(x, self.in_proj_weight.dtype)
        if x.ndim != 3 or x.shape[-1] != self.n:
            hint = "; x[np.newaxis] makes a batch of one sequence" if x.ndim == 2 else ""
            raise ValueError(f"{self!r}: expected (B, T, {self.n}), got {x.shape}{hint}")
        return x


def transposed(a: Array) -> Array:
    """Each matrix (..., M, N) as (..., N, M)."""
    return a.swapaxes(-1, -2)
