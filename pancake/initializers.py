"""Initial weights: one function a scheme, `scheme(n_in, n_out, rng)` -> array (n_out, n_in).

The variance of a weight decides whether signals grow or fade from layer to layer. Every scheme here keeps some variance
constant; they differ in which one, and in the shape of the distribution. Only `torch_uniform`, the default, lets signals fade a
little: it is what nets learn best from. docs/initialisation.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pancake.arguments import brief, name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Initializer: TypeAlias = "Callable[[int, int, np.random.Generator], NDArray[Any]]"


def he_normal(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """N(0, 2 / n_in): keeps the variance of the outputs through layers of ReLU.

    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers" (2015), equation 10.
    """
    return rng.normal(0.0, np.sqrt(2 / n_in), (n_out, n_in))


def he_uniform(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """U(-a, a) with a = sqrt(6 / n_in), which has the variance of `he_normal`.

    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers" (2015), equation 10.
    """
    a = np.sqrt(6 / n_in)
    return rng.uniform(-a, a, (n_out, n_in))


def glorot_normal(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """N(0, 2 / (n_in + n_out)): a compromise between the variances of outputs and of gradients, for tanh.

    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010), equation 12.
    """
    return rng.normal(0.0, np.sqrt(2 / (n_in + n_out)), (n_out, n_in))


def glorot_uniform(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """U(-a, a) with a = sqrt(6 / (n_in + n_out)), which has the variance of `glorot_normal`.

    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010), equation 16.
    """
    a = np.sqrt(6 / (n_in + n_out))
    return rng.uniform(-a, a, (n_out, n_in))


def lecun_normal(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """N(0, 1 / n_in): keeps the variance of the outputs of linear layers; the scheme that SELU is made for.

    LeCun, Bottou, Orr, Müller, "Efficient BackProp" (1998), equation 16.
    """
    return rng.normal(0.0, np.sqrt(1 / n_in), (n_out, n_in))


def lecun_uniform(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """U(-a, a) with a = sqrt(3 / n_in), which has the variance of `lecun_normal`.

    LeCun, Bottou, Orr, Müller, "Efficient BackProp" (1998), equation 16.
    """
    a = np.sqrt(3 / n_in)
    return rng.uniform(-a, a, (n_out, n_in))


def torch_uniform(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """U(-a, a) with a = 1 / sqrt(n_in), a variance of 1 / (3 n_in): the default. `Linear` draws its bias from it as well.

    The start of https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html. Glorot, Bengio, "Understanding the
    difficulty of training deep feedforward neural networks" (2010), equation 1, call it the commonly used heuristic.
    """
    a = 1 / np.sqrt(n_in)
    return rng.uniform(-a, a, (n_out, n_in))


def orthogonal(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random matrix with orthonormal rows or columns, whichever are fewer: it keeps lengths, at any depth.

    Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks"
    (2013), section 3. Uniform among such matrices: Mezzadri, "How to generate random matrices from the classical compact
    groups" (2007), section 5.
    """
    q, r = np.linalg.qr(rng.normal(size=(max(n_in, n_out), min(n_in, n_out))))
    q = q * np.sign(np.diag(r))
    return q if n_out >= n_in else q.T


def normal(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """N(0, 1), whatever the numbers are: for the rows of an `Embedding`, of which one at a time is the output.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    """
    return rng.normal(0.0, 1.0, (n_out, n_in))


def zeros(n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """All zero: every unit of a layer then learns the same. For output layers, and to show why the others exist."""
    return np.zeros((n_out, n_in))


SCHEMES: dict[str, Initializer] = {
    f.__name__: f
    for f in (
        he_normal,
        he_uniform,
        glorot_normal,
        glorot_uniform,
        lecun_normal,
        lecun_uniform,
        torch_uniform,
        orthogonal,
        normal,
        zeros,
    )
}


def initializer(scheme: str | Initializer, owner: object = None) -> Initializer:
    """The function of that name; a function of the same form is returned as it is.

    `owner` is whose `init` it is.

    Raises
    ------
    ValueError
        If there is no scheme of that name. The message lists all.
    """
    if callable(scheme):
        return scheme
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        whose = "" if owner is None else f"{name_of(owner)}: "
        raise ValueError(
            f"{whose}unknown initializer {brief(scheme)}; expected one of {', '.join(SCHEMES)}, or a function (n_in, n_out, rng)"
        )
    return SCHEMES[scheme]


def initial_bias(scheme: str | Initializer, n_in: int, n_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The bias (n_out,) that goes with weights of that scheme: drawn as they are by `torch_uniform`, 0 with all others."""
    if initializer(scheme) is not torch_uniform:
        return np.zeros(n_out)
    a = 1 / np.sqrt(n_in)
    return rng.uniform(-a, a, n_out)
