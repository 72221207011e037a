"""Convolutions: the same weighted sum in every window of an image or a sequence.

The windows side by side are a matrix, so that a convolution is a product. Backward is that of a product, and the way back from
the windows to the image.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, flag, generator, size
from pancake.attributes import parameter
from pancake.function import Function, total
from pancake.functions.windows import PerAxis, Windows, along_channels, batch_first, fitting, images, per_axis, spread
from pancake.memory import Array


class Kernels(Function):
    """Base of the convolutions: their arguments, and the parameters that follow from them.

    Attributes
    ----------
    axes : int
        How many axes an image has.
    """

    weight: Array = parameter()
    grad_weight: Array = parameter()
    bias: Array = parameter()
    grad_bias: Array = parameter()
    axes: int

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        rng: Rng = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.n_in, self.n_out, self.groups = size(self, n_in=n_in), size(self, n_out=n_out), size(self, groups=groups)
        if n_in % groups or n_out % groups:
            raise ValueError(f"{type(self).__name__}: expected groups that divide {n_in} and {n_out} channels, got {groups}")
        self.kernel_size = per_axis(self, "kernel_size", kernel_size, self.axes)
        self.stride = per_axis(self, "stride", stride, self.axes)
        self.padding = per_axis(self, "padding", padding, self.axes, least=0)
        self.dilation = per_axis(self, "dilation", dilation, self.axes)
        of_bias = (n_out,) if flag(self, "bias", bias) else None
        self.make_parameters(dtype, order="C", weight=self._weight_shape(), bias=of_bias)
        self.reset_parameters(rng)

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.n_out, self.n_in // self.groups, *spread(self.kernel_size, self.axes))

    def reset_parameters(self, rng: Rng = None) -> None:
        """Draw the weight anew from N(0, 2 / n), n being how many inputs an output sums, and set the bias to 0."""
        self.weight = generator(self, rng).normal(0, math.sqrt(2 / self._summed()), self.weight.shape)
        if self.bias is not None:
            self.bias.fill(0)

    def _summed(self) -> float:
        """How many inputs an output sums."""
        return self.weight[0].size

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "bias": self.bias is not None}

    def _windows(self) -> Windows:
        """Where the windows lie in an image."""
        every = (self.kernel_size, self.stride, self.padding, self.dilation)
        return Windows(*(spread(value, self.axes) for value in every))

    def _matrix(self, weight: Array) -> Array:
        """A weight or its gradient as a matrix for each group: (G, O / G, I / G k), k being the entries of a window."""
        return weight.reshape(self.groups, len(weight) // self.groups, -1)

    def _columns(self, windows: Array) -> Array:
        """Windows (I, *kernel, *counts, B) as a matrix for each group: (G, I / G k, N), N being the number of windows."""
        return windows.reshape(self.groups, self.weight[0].size, -1)

    def _rows(self, y: Array) -> Array:
        """Images (B, O, *counts) as a matrix for each group, which has a number for each window: (G, O / G, N)."""
        return np.moveaxis(y, 0, -1).reshape(self.groups, len(self.weight) // self.groups, -1)


class Convolution(Kernels):
    """Base of `Conv1d` and `Conv2d`, which differ in the number of axes."""

    def compute_forward(self, x: Any) -> Array:
        x = images(self, self._floats(x, self.weight.dtype), self.axes, self.n_in)
        windows = self._windows()
        counts = fitting(self, windows, x)
        self._remember(x)
        columns = self._columns(windows.of(x))
        y = batch_first((self._matrix(self.weight) @ columns).reshape(self.n_out, *counts, len(x)))
        return y if self.bias is None else y + along_channels(self.bias, y.ndim)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x, d = self._backward_of_the_product(dObj_dOut)
        windows = self._windows()
        columns = self._matrix(self.weight).swapaxes(1, 2) @ d
        return windows.sum(columns.reshape(self.n_in, *windows.kernel, *windows.counts(x.shape[2:]), len(x)), x.shape[2:])

    def accumulate_grads(self, dObj_dOut: Any) -> None:
        """Do what `compute_backward` does, without the way back to the image: of a first layer nobody needs it."""
        self._backward_of_the_product(dObj_dOut)

    def _backward_of_the_product(self, dObj_dOut: Any) -> tuple[Array, Array]:
        """Add to the gradients; return x, and dObj_dOut as a matrix for each group."""
        x = self._remembered()
        windows = self._windows()
        d = self._rows(self._upstream(dObj_dOut, (len(x), self.n_out, *windows.counts(x.shape[2:])), x.dtype))
        columns = self._columns(windows.of(x))
        # d (P x)^T as the transpose of (P x) d^T, which takes half of the time
        self.grad_weight += (columns @ d.swapaxes(1, 2)).swapaxes(1, 2).reshape(self.weight.shape)
        if self.bias is not None:
            self.grad_bias += total(d.reshape(self.n_out, -1).T)
        return x, d


class Conv1d(Convolution):
    """y = W P x + b: every output channel is a weighted sum in each window of a sequence, with the same weights in all.

    P copies the windows of x into columns, so that one product serves all of them. With d for dObj_dOut as columns, one for each
    window,

        dObj_dIn = P^T W^T d        grad_weight = d (P x)^T        grad_bias = sum d

    where P^T, the transpose of P, adds every entry of the columns to the place that it was copied from. At the entry t of window
    number l stands x[l stride + t dilation - padding], or 0 in the padding; as in all of this field the weights are not turned
    round, so that y is, strictly speaking, a cross-correlation.

    Shape
    -----
    x : (B, I, L);  W : (O, I / groups, k);  b : (O,);  y : (B, O, L'), L' = (L + 2 padding - dilation (k - 1) - 1) // stride + 1

    Parameters
    ----------
    n_in, n_out, stride, padding, dilation, groups, bias, dtype
        As in `Conv2d`, on one axis.
    kernel_size : int
        k, the number of entries of a window.
    rng : None, int or numpy.random.Generator
        W is drawn from N(0, 2 / n), n = k I / groups (`he_normal`), b starts at 0; torch starts both at U(+-1 / sqrt(n)).

    Attributes
    ----------
    weight, grad_weight : ndarray (O, I / groups, k)
    bias, grad_bias : ndarray (O,), or None without bias

    Raises
    ------
    ValueError
        If the input is not (B, I, L), or shorter than a window.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv1d.html
    """

    axes = 1


class Conv2d(Convolution):
    """y = W P x + b: every output channel is a weighted sum in each window of an image, with the same weights in all.

    P copies the windows of x into columns, so that one product serves all of them. With d for dObj_dOut as columns, one for each
    window,

        dObj_dIn = P^T W^T d        grad_weight = d (P x)^T        grad_bias = sum d

    where P^T, the transpose of P, adds every entry of the columns to the place that it was copied from. `docs/convolution.md`
    derives it. All of kernel_size, stride, padding and dilation are one number for both axes, or a pair: height, width.

    Shape
    -----
    x : (B, I, H, W);  W : (O, I / groups, k, k);  b : (O,);  y : (B, O, H', W'),
    H' = (H + 2 padding - dilation (k - 1) - 1) // stride + 1, and W' likewise

    Parameters
    ----------
    n_in, n_out : int
        I and O, the numbers of input and output channels.
    kernel_size : int or (int, int)
        k, the numbers of rows and columns of a window.
    stride : int or (int, int)
        From the start of one window to that of the next.
    padding : int or (int, int)
        Zeros on each side of the image.
    dilation : int or (int, int)
        From one entry of a window to the next.
    groups : int
        The channels are cut into this many groups; each group of outputs sees the inputs of its group alone.
    bias : bool
        Whether to add b.
    rng : None, int or numpy.random.Generator
        W is drawn from N(0, 2 / n), n = k k I / groups (`he_normal`), b starts at 0; torch starts both at U(+-1 / sqrt(n)).
    dtype : floating dtype
        Of the parameters and of all that comes out.

    Attributes
    ----------
    weight, grad_weight : ndarray (O, I / groups, k, k)
    bias, grad_bias : ndarray (O,), or None without bias

    Raises
    ------
    ValueError
        If the input is not (B, I, H, W), or smaller than a window.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998), section II.
    Chellapilla, Puri, Simard, "High Performance Convolutional Neural Networks for Document Processing" (2006), section 4: as a
    product.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
    """

    axes = 2


class ConvTranspose2d(Kernels):
    """y = P^T W^T x + b: every input is spread over a window of the output, and added up where windows overlap.

    It is the backward of `Conv2d` as a forward, so that its backward is that one's forward. With P that copies the windows of an
    image into columns, and d for dObj_dOut,

        dObj_dIn = W P d        grad_weight = x (P d)^T        grad_bias = sum d

    Shape
    -----
    x : (B, I, H, W);  W : (I, O / groups, k, k);  b : (O,);  y : (B, O, H', W'),
    H' = (H - 1) stride - 2 padding + dilation (k - 1) + 1, and W' likewise

    Parameters
    ----------
    n_in, n_out, kernel_size, stride, dilation, groups, bias, dtype
        As in `Conv2d`; the windows lie in the output.
    padding : int or (int, int)
        How much is cut off on each side of the output.
    rng : None, int or numpy.random.Generator
        W is drawn from N(0, 2 / n), n = k k I / (groups stride^2) being how many inputs an output sums on average; b starts at 0.
        torch starts both at U(+-1 / sqrt(k k O / groups)).

    Attributes
    ----------
    weight, grad_weight : ndarray (I, O / groups, k, k)
    bias, grad_bias : ndarray (O,), or None without bias

    Raises
    ------
    ValueError
        If the input is not (B, I, H, W), or nothing is left of the output without the padding.

    References
    ----------
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016), chapter 4.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html
    """

    axes = 2

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.n_in, self.n_out // self.groups, *spread(self.kernel_size, self.axes))

    def _summed(self) -> float:
        return self.weight[:, 0].size / self.groups / math.prod(spread(self.stride, self.axes))

    def compute_forward(self, x: Any) -> Array:
        x = images(self, self._floats(x, self.weight.dtype), self.axes, self.n_in)
        windows = self._windows()
        lengths = windows.lengths(x.shape[2:])
        if min(lengths) < 1:
            raise ValueError(f"{self!r}: expected an output of at least one entry, got {lengths} from an input {x.shape}")
        self._remember(x)
        columns = self._matrix(self.weight).swapaxes(1, 2) @ self._rows(x)
        y = windows.sum(columns.reshape(self.n_out, *windows.kernel, *x.shape[2:], len(x)), lengths)
        return y if self.bias is None else y + along_channels(self.bias, y.ndim)

    def compute_backward(self, dObj_dOut: Any) -> Array:
        x = self._remembered()
        windows = self._windows()
        d = self._upstream(dObj_dOut, (len(x), self.n_out, *windows.lengths(x.shape[2:])), x.dtype)
        columns = self._columns(windows.of(d))
        self.grad_weight += (columns @ self._rows(x).swapaxes(1, 2)).swapaxes(1, 2).reshape(self.weight.shape)
        if self.bias is not None:
            self.grad_bias += total(np.moveaxis(d, 1, -1))
        dObj_dIn = self._matrix(self.weight) @ columns
        return batch_first(dObj_dIn.reshape(self.n_in, *x.shape[2:], len(x)))
