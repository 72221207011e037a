"""Write a layer by hand, get its derivative wrong, and let the gradient checker say where.

    python demos/check_your_layer.py

The layer is y = x w / |x|: it looks at the direction of the input and not at its length. Its author knows the derivative of the
product, and has forgotten that the length depends on x as well. The report names the entry, and ends with lines that show the
failure again; with the missing term the layer keeps its whole contract.

In a test suite, hypothesis draws widths and inputs, and finds the smallest that fail:

    test_direction = gradient_property(Direction, n_in=st.integers(1, 5))
"""

import numpy as np
from command_line import run

from pancake import Function
from pancake.testing import GradientError, check_function


class Direction(Function):
    """y = x w / |x| for each row of x (B, I), with a trainable vector w (I,)."""

    def __init__(self, n_in, seed=None):
        self.n_in = n_in
        self.w = np.random.default_rng(seed).normal(size=n_in)
        self.grad_w = np.zeros(n_in)

    def compute_forward(self, x):
        self.length = np.sqrt((x * x).sum(axis=1, keepdims=True))
        self.unit = x / self.length
        return self.unit @ self.w

    def compute_backward(self, dObj_dOut):
        self.grad_w += self.unit.T @ dObj_dOut
        return np.outer(dObj_dOut, self.w) / self.length  # as if the length were a constant


class Repaired(Direction):
    """The same with the missing term: moving x along itself changes its length, and not y."""

    def compute_backward(self, dObj_dOut):
        along = super().compute_backward(dObj_dOut)
        return along - (along * self.unit).sum(axis=1, keepdims=True) * self.unit


def check(layer, x):
    print(f"checking {layer!r} on an input of shape {x.shape}")
    try:
        print(check_function(layer, x).summary())
        return True
    except GradientError as error:
        print(error)
        return False


def main(batch=3, features=2, seed=0):
    x = np.random.default_rng(seed).normal(size=(batch, features)).round(1)
    right = [check(cls(features, seed=seed), x) for cls in (Direction, Repaired)]
    print(f"found the fault: {not right[0]}, the repaired layer is right: {right[1]}")


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=lambda options: None if options.features > 1 else "expected at least 2 --features",
        batch="examples in the input of the check",
        features="features of each example",
        seed="of the input and the initial weights",
    )
