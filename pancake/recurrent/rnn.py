"""The usual recurrent stack: cells unrolled one above the other, and a linear layer on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from pancake.arguments import Rng, flag, generator, share, tells_how_to_call
from pancake.function import Function
from pancake.functions.containers import Sequential
from pancake.functions.dropout import Dropout
from pancake.functions.linear import Linear
from pancake.functions.mlp import check_maker, made
from pancake.recurrent.bidirectional import Bidirectional
from pancake.recurrent.cells import GRUCell
from pancake.recurrent.unrolled import Unrolled


@tells_how_to_call
def rnn(
    sizes: Sequence[int],
    cell: Callable[..., Function] = GRUCell,
    output: Callable[[], Function] | None = None,
    *,
    return_sequences: bool = True,
    bidirectional: bool = False,
    dropout: float = 0.0,
    rng: Rng = None,
    dtype: DTypeLike = np.float64,
) -> Sequential:
    """A recurrent net: a cell over time, another over what it puts out, ..., Linear, output.

    ::

        model = rnn([8, 64, 64, 3], cell=LSTMCell, return_sequences=False, rng=0)   # sequences (B, T, 8) to classes (B, 3)
        fit(model, CrossEntropy(), Adam(model), x, y, lengths=lengths)

    Parameters
    ----------
    sizes : sequence of int
        The number of inputs, of units in each recurrent layer, and of outputs.
    cell : callable
        Makes the cell of a layer, called as `cell(n_in, n_hidden, rng=..., dtype=...)`; a class does.
    output : callable, optional
        Makes the Function after the linear layer; none by default, as losses from logits want it.
    return_sequences : bool
        Whether there is an output for each step, (B, T, O), or one for each sequence, (B, O), made of the last valid step.
    bidirectional : bool
        Whether each layer runs over the sequences in both directions, and puts out twice as many numbers, as in torch.
    dropout : float
        What share of the outputs of each recurrent layer but the last is dropped in training, as in torch.
    rng, dtype
        As in `Linear`; one generator serves all layers.

    Raises
    ------
    ValueError
        If there are fewer than three sizes.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html: num_layers, dropout, bidirectional
    """
    if not isinstance(sizes, (Sequence, np.ndarray)) or len(sizes) < 3:
        hint = "; all sizes go into one list" if isinstance(sizes, int) else ""
        raise ValueError(
            f"rnn: expected the numbers of inputs, of hidden units and of outputs, such as [2, 32, 1], got {sizes!r}{hint}"
        )
    check_maker("rnn", "cell", cell, "GRUCell")
    if output is not None:
        check_maker("rnn", "output", output, "Softmax")
    dropout = share(rnn, "dropout", dropout)
    return_sequences = flag(rnn, "return_sequences", return_sequences)
    bidirectional = flag(rnn, "bidirectional", bidirectional)
    rng = generator(rnn, rng)
    n_in, *hidden, n_out = sizes
    stack: list[Function] = []
    for layer, n_hidden in enumerate(hidden, start=1):
        cells = [cell(n_in, n_hidden, rng=rng, dtype=dtype) for _ in range(1 + bidirectional)]
        every = return_sequences or layer < len(hidden)
        stack.append(Bidirectional(cells[0], cells[1], every) if bidirectional else Unrolled(cells[0], every))
        n_in = int(n_hidden) * len(cells)
        if dropout and layer < len(hidden):
            stack.append(Dropout(dropout, rng=rng))
    stack.append(Linear(n_in, n_out, rng=rng, dtype=dtype))
    if output is not None:
        stack.append(made("rnn", "output", output))
    return Sequential(stack)
