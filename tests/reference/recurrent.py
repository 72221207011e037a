"""Reference values of torch for recurrent nets, in float64. To make the file anew, with torch 2.13:

python tests/reference/recurrent.py
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("recurrent.npz")
B, T, I, H = 3, 5, 4, 3  # noqa: E741
LENGTHS = [3, 5, 2]
KINDS = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}  # and their numbers of gates
CASES = list(itertools.product(KINDS, (1, 2), ("forward", "both"), ("all", "packed")))


def parts(layers: int, directions: str) -> Any:
    """What torch puts at the end of the names of the parameters of each cell."""
    return [f"_l{layer}{end}" for layer in range(layers) for end in ("", "_reverse")[: 2 if directions == "both" else 1]]


def problem(kind: str, layers: int, directions: str, seed: int = 0) -> Any:
    """Input, parameters, initial states and upstream gradients, by name."""
    rng = np.random.default_rng(seed)
    width = 2 if directions == "both" else 1
    cells = layers * width
    arrays = {"x": (B, T, I), "h0": (cells, B, H), "dObj_dOut": (B, T, width * H), "dObj_dH": (cells, B, H)}
    if kind == "lstm":
        arrays |= {"c0": (cells, B, H), "dObj_dC": (cells, B, H)}
    gates = KINDS[kind]
    for name in parts(layers, directions):
        n_in = I if "l0" in name else width * H
        arrays |= {"weight_ih" + name: (gates * H, n_in), "weight_hh" + name: (gates * H, H)}
        arrays |= {"bias_ih" + name: (gates * H,), "bias_hh" + name: (gates * H,)}
    return {name: rng.normal(0, 0.7, shape) for name, shape in arrays.items()}


def solve(kind: str, layers: int, directions: str, lengths: Any) -> Any:
    """What torch computes: output, last states, and the gradients of everything."""
    import torch

    arrays = problem(kind, layers, directions)
    net = {"tanh": torch.nn.RNN, "relu": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](
        I,
        H,
        layers,
        batch_first=True,
        bidirectional=directions == "both",
        dtype=torch.float64,
        **({"nonlinearity": kind} if kind in ("tanh", "relu") else {}),
    )
    net.load_state_dict({name: torch.tensor(arrays[name]) for name in net.state_dict()})
    x, *states = [torch.tensor(arrays[name], requires_grad=True) for name in ("x", "h0", "c0") if name in arrays]
    sequences = x
    if lengths == "packed":
        sequences = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    out, last = net(sequences, tuple(states) if kind == "lstm" else states[0])
    if lengths == "packed":
        out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=T)
    lasts = list(last) if kind == "lstm" else [last]
    upstream = [torch.tensor(arrays[name]) for name in ("dObj_dOut", "dObj_dH", "dObj_dC") if name in arrays]
    sum((a * u).sum() for a, u in zip([out, *lasts], upstream, strict=True)).backward()
    results = {"out": out, "dObj_dX": x.grad}
    results |= dict(zip(("h", "c"), lasts, strict=False))
    results |= {name: state.grad for name, state in zip(("dObj_dH0", "dObj_dC0"), states, strict=False)}
    results |= {"grad_" + name: p.grad for name, p in net.named_parameters()}
    return {name: value.detach().numpy() for name, value in results.items()}


def solve_all() -> Any:
    """The results of all cases, by "case/name"."""
    return {f"{'-'.join(map(str, case))}/{name}": value for case in CASES for name, value in solve(*case).items()}


if __name__ == "__main__":
    np.savez_compressed(FILE, **solve_all())
    print(f"wrote {FILE}")
