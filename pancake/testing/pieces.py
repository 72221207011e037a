"""What recipes are made of: numbers, axes, shapes and windows that fit an input, inputs, and values for parameters."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import SearchStrategy

from pancake.memory import Array
from pancake.testing.inputs import Shape, arrays, batches, sequences, tenths

SEEDS = st.integers(0, 2**16)
WIDTHS = st.integers(1, 4)
# With at least one axis, of any number of axes, and matrices before all others, since they are the easiest to read.
FEATURES: SearchStrategy[Array] = (
    batches(WIDTHS) | sequences(st.integers(1, 3)) | arrays(hnp.array_shapes(min_dims=1, max_dims=4, max_side=3))
)
ANY = FEATURES | arrays(st.just(()))


# --- what fits an input ---


def shapes_like(x: Array) -> SearchStrategy[Shape]:
    """Shapes of as many entries as x has."""
    lengths = [n for n in range(1, x.size + 1) if x.size % n == 0]
    return st.sampled_from([(x.size,), (-1,), *((n, x.size // n) for n in lengths), *((-1, n, 1) for n in lengths)])


def even_tenths_beside(x: Array) -> SearchStrategy[Array]:
    """Even tenths of a shape that broadcasts to that of x."""
    shapes = [x.shape[i:] for i in range(x.ndim + 1)]
    return st.sampled_from(shapes).flatmap(lambda shape: tenths(shape, -10, 10, lambda k: np.asarray(2 * k / 10)))


def axes_of(x: Array) -> SearchStrategy[Any]:
    """None, one axis of x, or several."""
    several = st.lists(st.integers(0, x.ndim - 1), unique=True, max_size=x.ndim).map(tuple) if x.ndim else st.just(())
    return st.none() | several | (axis_of(x) if x.ndim else st.nothing())


def axis_of(x: Array) -> SearchStrategy[int]:
    return st.integers(-x.ndim, x.ndim - 1)


def index_of(length: int) -> SearchStrategy[Any]:
    """A number, a slice or a list of numbers that picks something of so many entries."""
    one = st.integers(-length, length - 1)
    slices = st.builds(slice, st.none() | st.integers(0, length - 1), st.none(), st.sampled_from([None, 2]))
    return one | slices | st.lists(one, min_size=1, max_size=3)


def channels_of(x: Array) -> SearchStrategy[int]:
    """How many channels there are in (B, C, ...)."""
    return st.just(x.shape[1]) if x.ndim > 1 else st.nothing()


def divisors(n: int) -> SearchStrategy[int]:
    return st.sampled_from([k for k in range(1, n + 1) if n % k == 0])


def windows(x: Array, fit: Callable[..., bool]) -> SearchStrategy[Any]:
    """(kernel_size, stride, padding, dilation) that fit images x: one number for all axes, or one for each."""
    every = list(itertools.product((1, 2, 3), (1, 2), (0, 1), (1, 2)))
    by_axis = [[numbers for numbers in every if fit(length, *numbers)] for length in x.shape[2:]]
    for_all = [numbers for numbers in by_axis[0] if all(numbers in others for others in by_axis)]
    for_each = st.tuples(*map(st.sampled_from, by_axis)).map(lambda axes: tuple(zip(*axes, strict=True)))
    return st.sampled_from(for_all) | for_each


def fits_into(length: int, k: int, stride: int, padding: int, dilation: int) -> bool:
    return dilation * (k - 1) + 1 <= length + 2 * padding


def leaves_something(length: int, k: int, stride: int, padding: int, dilation: int) -> bool:
    return (length - 1) * stride - 2 * padding + dilation * (k - 1) + 1 >= 1


def fits_a_pooling(length: int, k: int, stride: int, padding: int, dilation: int) -> bool:
    return dilation == 1 and 2 * padding <= k <= length + 2 * padding


# --- inputs ---


def images(*lengths: SearchStrategy[int]) -> SearchStrategy[Array]:
    """Batches of images (B, C, ...)."""
    return arrays(st.tuples(st.integers(1, 3), st.integers(1, 4), *lengths))


LINES, PICTURES = images(st.integers(1, 6)), images(st.integers(1, 4), st.integers(1, 4))
SHORT = sequences(st.integers(1, 2), batch=st.integers(1, 3))
POSITIVE = arrays(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), low=0.3, high=3)


def steps_of(arrays_in_state: int) -> SearchStrategy[Any]:
    """Inputs of a cell, pairs (x_t, state) where the state is an array (B, H), or a tuple of several."""

    def of_shapes(sizes: tuple[int, int, int]) -> SearchStrategy[Any]:
        batch, n_in, n_hidden = sizes
        state = [arrays((batch, n_hidden))] * arrays_in_state
        return st.tuples(arrays((batch, n_in)), state[0] if len(state) == 1 else st.tuples(*state))

    return st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)).flatmap(of_shapes)


# --- parameters ---


def redraw_parameters(function: Any, seed: int, positive: bool = False) -> None:
    """Fill the parameters with odd tenths from -1.5 to 1.5; those that were all positive stay so for odd seeds, or if told."""
    rng = np.random.default_rng(seed)
    for p in function.get_params_and_grads()[0]:
        tenths = (2 * rng.integers(-8, 8, p.shape) + 1) / 10
        p[...] = np.abs(tenths) if (positive or seed % 2) and (p > 0).all() else tenths
