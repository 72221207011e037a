"""Toy sets: points of the plane with classes, on which one can see what a net learns.

Each function `(n, *, noise, rng)` returns X, float64 of shape (n, 2), and y, the classes 0, 1, ... as int64 of shape (n,).
The classes take turns: in the first k points, for every k, they are equally frequent, give or take one. So X[:k] and X[k:]
are a fair split. `noise` is the standard deviation of a normal error in each coordinate, in the units of X. With an int as
`rng` the set is always the same.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pancake.arguments import Rng, generator, length, number, tells_how_to_call

__all__ = ["blobs", "checkerboard", "circles", "moons", "spirals", "xor"]

Points: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]


@tells_how_to_call
def xor(n: int, *, noise: float = 0.1, rng: Rng = None) -> tuple[Points, Labels]:
    """The corners of the unit square, of class 1 where exactly one coordinate is 1. No straight line parts the classes.

    Point i lies at corner i mod 4 of [0, 0], [0, 1], [1, 0], [1, 1], whose classes are 0, 1, 1, 0: `xor(4, noise=0)` is the
    truth table.

    Parameters
    ----------
    n : int
        The number of points, at least 1.
    noise : float
        At 0.1 hardly any point is nearer to another corner than to its own.
    rng : None, int or numpy.random.Generator

    Raises
    ------
    ValueError, TypeError
        If n is not a whole number of at least 1, or noise is not a number of at least 0.

    References
    ----------
    Minsky, Papert, "Perceptrons" (1969). Rumelhart, Hinton, Williams, "Learning internal representations by error
    propagation" (1986), where a net with a hidden layer learns it.
    """
    n, noise, rng = length(xor, n=n), number(xor, "noise", noise), generator(xor, rng)
    corner = np.arange(n) % 4
    a, b = corner // 2, corner % 2
    return _blurred(np.column_stack([a, b]), noise, rng), (a ^ b).astype(np.int64)


@tells_how_to_call
def moons(n: int, *, noise: float = 0.1, rng: Rng = None) -> tuple[Points, Labels]:
    """Two half circles of radius 1, each with one end inside the other.

    With t spread evenly over [0, pi]: class 0 lies on (cos t, sin t), class 1 on (1 - cos t, 1/2 - sin t).

    Parameters
    ----------
    n : int
        The number of points, at least 1.
    noise : float
        The gap between the arcs is 1/2: at 0.1 the classes just touch.
    rng : None, int or numpy.random.Generator

    Raises
    ------
    ValueError, TypeError
        If n is not a whole number of at least 1, or noise is not a number of at least 0.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_moons.html
    """
    n, noise, rng = length(moons, n=n), number(moons, "noise", noise), generator(moons, rng)
    y = _in_turn(n, 2)
    t = np.pi * _evenly(y, rng)
    x0 = np.where(y == 0, np.cos(t), 1 - np.cos(t))
    x1 = np.where(y == 0, np.sin(t), 0.5 - np.sin(t))
    return _blurred(np.column_stack([x0, x1]), noise, rng), y


@tells_how_to_call
def circles(n: int, *, noise: float = 0.05, rng: Rng = None) -> tuple[Points, Labels]:
    """A circle of radius 1, class 0, around a circle of radius 1/2, class 1.

    With t spread evenly over [0, 2 pi): r (cos t, sin t).

    Parameters
    ----------
    n : int
        The number of points, at least 1.
    noise : float
        At 0.05 a gap remains; from 0.1 the classes touch.
    rng : None, int or numpy.random.Generator

    Raises
    ------
    ValueError, TypeError
        If n is not a whole number of at least 1, or noise is not a number of at least 0.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_circles.html, there with a ratio of 0.8.
    """
    n, noise, rng = length(circles, n=n), number(circles, "noise", noise), generator(circles, rng)
    y = _in_turn(n, 2)
    t = 2 * np.pi * _evenly(y, rng, endpoint=False)
    return _blurred(_polar(np.where(y == 0, 1.0, 0.5), t), noise, rng), y


@tells_how_to_call
def spirals(n: int, *, noise: float = 0.03, rng: Rng = None, arms: int = 2, turns: float = 1.5) -> tuple[Points, Labels]:
    """Arms that wind around each other, one for each class; they start at radius 0.1 and end at radius 1.

    With t spread evenly over [0, 1], arm c lies at radius 0.1 + 0.9 t and angle 2 pi (turns t + c / arms).

    Parameters
    ----------
    n : int
        The number of points, at least 1.
    noise : float
        Neighbouring arms are 0.9 / (arms turns) apart, 0.3 by default.
    rng : None, int or numpy.random.Generator
    arms : int
        The number of classes.
    turns : float
        How often each arm winds around the centre; more is harder.

    Raises
    ------
    ValueError, TypeError
        If n or arms is not a whole number of at least 1, or noise or turns is not a number of at least 0.

    References
    ----------
    Lang, Witbrock, "Learning to tell two spirals apart" (1988), with two arms of three turns.
    """
    n, noise, rng = length(spirals, n=n), number(spirals, "noise", noise), generator(spirals, rng)
    arms, turns = length(spirals, arms=arms), number(spirals, "turns", turns)
    y = _in_turn(n, arms)
    t = _evenly(y, rng)
    return _blurred(_polar(0.1 + 0.9 * t, 2 * np.pi * (turns * t + y / arms)), noise, rng), y


@tells_how_to_call
def blobs(n: int, *, noise: float = 0.4, rng: Rng = None, centers: int = 3) -> tuple[Points, Labels]:
    """Round clouds, one for each class, whose centres stand on a circle around the origin, neighbours 2 apart.

    Class c is normally distributed around r (cos t, sin t) with t = 2 pi c / centers and r = 1 / sin(pi / centers).

    Parameters
    ----------
    n : int
        The number of points, at least 1.
    noise : float
        The standard deviation of each cloud. At 0.4 a point in a hundred is on the wrong side; at 0 all lie on the centres.
    rng : None, int or numpy.random.Generator
    centers : int
        The number of clouds. A single one stands at the origin.

    Raises
    ------
    ValueError, TypeError
        If n or centers is not a whole number of at least 1, or noise is not a number of at least 0.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_blobs.html, there with centres at random.
    """
    n, noise, rng = length(blobs, n=n), number(blobs, "noise", noise), generator(blobs, rng)
    centers = length(blobs, centers=centers)
    y = _in_turn(n, centers)
    radius = 0.0 if centers == 1 else 1 / np.sin(np.pi / centers)
    return _blurred(_polar(np.full(n, radius), 2 * np.pi * y / centers), noise, rng), y


@tells_how_to_call
def checkerboard(n: int, *, noise: float = 0.0, rng: Rng = None, squares: int = 4) -> tuple[Points, Labels]:
    """A board of squares of side 1 around the origin, whose colours are the classes.

    Square (i, j), counted from the lower left corner, is of class (i + j) mod 2. Each point lies in a random square of its
    class, anywhere in it with equal probability.

    Parameters
    ----------
    n : int
        The number of points, at least 1.
    noise : float
        It carries points over the border, where they keep their class.
    rng : None, int or numpy.random.Generator
    squares : int
        Along each side of the board, at least 2: X lies in [-squares / 2, squares / 2].

    Raises
    ------
    ValueError, TypeError
        If n or squares is not a whole number of at least 1 or 2, or noise is not a number of at least 0.

    References
    ----------
    Ho, Kleinberg, "Building projectable classifiers of arbitrary complexity" (1996).
    """
    n, noise, rng = length(checkerboard, n=n), number(checkerboard, "noise", noise), generator(checkerboard, rng)
    if length(checkerboard, squares=squares) < 2:
        raise ValueError(f"checkerboard: expected at least 2 squares along each side, got {squares}")
    y = _in_turn(n, 2)
    i, j = np.indices((squares, squares)).reshape(2, -1)
    corners = np.column_stack([i, j]) - squares / 2
    X = rng.random((n, 2))
    for c in range(2):
        X[y == c] += rng.choice(corners[(i + j) % 2 == c], np.count_nonzero(y == c))
    return _blurred(X, noise, rng), y


def _in_turn(n: int, classes: int) -> Labels:
    return np.arange(n, dtype=np.int64) % classes


def _evenly(y: Labels, rng: np.random.Generator, endpoint: bool = True) -> Points:
    """For the points of each class numbers spread evenly over [0, 1], in random order."""
    t = np.empty(len(y))
    for c in range(y.max() + 1):
        t[y == c] = rng.permutation(np.linspace(0, 1, np.count_nonzero(y == c), endpoint=endpoint))
    return t


def _polar(radius: Points, angle: Points) -> Points:
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def _blurred(X: NDArray[np.int64] | Points, noise: float, rng: np.random.Generator) -> Points:
    return X + rng.normal(0.0, noise, X.shape)
