"""Learn to write like Python's own documentation, letter by letter.

    python demos/names.py

The text is what `help("topics")` shows: it comes with Python, in `pydoc_data.topics`. An LSTM sees one character at a time and
learns what comes next. How surprised it is, is printed in bits per character, beside that of a table of which character
follows which; and samples at three temperatures: the lower, the safer the choice of the next character.
Carried from piece to piece, the state lets the net remember what was before the piece that backpropagation sees.
"""

import math
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import Adam, CrossEntropy, Embedding, Linear, LSTMCell, Unrolled, clip_grad_norm

OUTPUT = Path("pictures", "names.png")
STREAMS, PIECE, STEPS, CHARACTERS = 32, 64, 20, 300_000  # places read at a time, characters of a piece, pieces of an epoch


class Writer:
    """An LSTM over characters, of which the state is at hand."""

    def __init__(self, n_characters, hidden, rng):
        self.embedding = Embedding(n_characters, 32, rng=rng, dtype=np.float32)
        self.memory = Unrolled(LSTMCell(32, hidden, rng=rng, dtype=np.float32))
        self.output = Linear(hidden, n_characters, rng=rng, dtype=np.float32)
        self.parts = [self.embedding, self.memory, self.output]

    def scores(self, x, state=None):
        return self.output(self.memory(self.embedding(x), state))

    def accumulate_grads(self, dObj_dScores):
        self.embedding.accumulate_grads(self.memory.compute_backward(self.output.compute_backward(dObj_dScores)))

    def sample(self, start, length, temperatures, rng):
        """Characters (len(temperatures), length) that go on from `start`, one row for each temperature."""
        scores = self.scores(np.tile(start, (len(temperatures), 1)))[:, -1]
        written = []
        for _ in range(length):
            # The largest of the scores plus Gumbel noise is a draw from their softmax.
            written.append((scores / temperatures + rng.gumbel(size=scores.shape)).argmax(axis=1))
            scores = self.scores(written[-1][:, np.newaxis], self.memory.state)[:, -1]
        return np.array(written).T


def bits_of_a_table(train, test, n):
    """Bits per character of `test` if only the character before is known, by the counts of `train`."""
    counts = np.full((n, n), 0.1)
    np.add.at(counts, (train[:-1], train[1:]), 1)
    return -np.log2((counts / counts.sum(axis=1, keepdims=True))[test[:-1], test[1:]]).mean()


def main(epochs=56, hidden=160, seed=0, output=OUTPUT, show=False):
    rng = np.random.default_rng(seed)
    text = "\n".join(topics[name] for name in sorted(topics))[:CHARACTERS]
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(character) for character in text])
    train, test = codes[: -len(codes) // 20], codes[-len(codes) // 20 :]
    table = bits_of_a_table(train, test, len(alphabet))
    print(f"{len(text):,} characters, {len(alphabet)} different ones; the last {len(test):,} are kept for testing")
    print(f"bits per character: {math.log2(len(alphabet)):.2f} without any knowledge, {table:.2f} with the character before")
    streams, test = (part[: len(part) // STREAMS * STREAMS].reshape(STREAMS, -1) for part in (train, test))
    pieces = [streams[:, begin : begin + PIECE + 1] for begin in range(0, streams.shape[1] - PIECE, PIECE)]
    writer = Writer(len(alphabet), hidden, rng)
    loss, optimizer = CrossEntropy(), Adam(writer.parts, lr=4e-3)
    temperatures, start = np.array([[0.4], [0.7], [1.0]]), [alphabet.index(character) for character in "The "]
    curve, tests, state = [], [], None
    for epoch in range(1, epochs + 1):
        for _ in range(STEPS):
            number = len(curve) % len(pieces)
            piece, state = pieces[number], state if number else None  # none at the beginning of the text
            optimizer.zero_grad()
            curve.append(loss(writer.scores(piece[:, :-1], state), piece[:, 1:]) / math.log(2))
            writer.accumulate_grads(loss.compute_backward())
            clip_grad_norm(writer.parts, 1.0)
            optimizer.step()
            state = writer.memory.state  # goes on, but no gradient flows back through it: truncated backpropagation
        optimizer.lr *= 0.97
        tests.append(CrossEntropy()(writer.scores(test[:, :-1]), test[:, 1:]) / math.log(2))
        print(f"epoch {epoch}: bits per character: train {np.mean(curve[-STEPS:]):.2f}, test {tests[-1]:.2f}")
        if epoch % max(epochs // 8, 1) == 0:
            for temperature, row in zip(temperatures[:, 0], writer.sample(start, 100, temperatures, rng), strict=True):
                print(f"  {temperature:.1f}  The {''.join(alphabet[code] for code in row)!r}")

    figure, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    ax.plot(curve, color="0.75", linewidth=0.8, label="each piece")
    ax.plot(np.arange(1, epochs + 1) * STEPS, tests, "o-", markersize=3, color="tab:red", label="text kept for testing")
    ax.axhline(table, color="tab:blue", linestyle="--", label="a table of pairs of characters")
    ax.set(xlabel="step", ylabel="bits per character", ylim=(0, 1.05 * max(curve)), title="An LSTM reads Python's documentation")
    ax.legend()
    finish(figure, output, show, dpi=120)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        epochs=f"of {STEPS} pieces; 7 read the text once",
        hidden="units of the LSTM",
        seed="of the initial weights and the samples",
    )
