"""The error of a training that has gone astray."""


class NonFiniteError(FloatingPointError, ValueError):
    """The loss, or a weight, has become nan or infinite in `fit`."""
