"""Learn to write like Python's own documentation, letter by letter.

    python demos/names.py

The text is what `help("topics")` shows: it comes with Python, in `pydoc_data.topics`. An LSTM sees one character at a time and
learns what comes next. How surprised it is, is printed in bits per character, beside that of a table of which character
follows which; and samples at three temperatures: the lower, the safer the choice of the next character.
Carried from piece to piece, the state lets the net remember what was before the piece that backpropagation sees.
"""

import argparse
import math
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

from pancake import Adam, CrossEntropy, Embedding, Linear, LSTMCell, Unrolled, clip_grad_norm

OUTPUT = Path(__file__).parent / "gallery" / "names.png"
STREAMS, PIECE = 32, 64  # so many places of the text are read at a time, in pieces of so many characters


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
    p = counts / counts.sum(axis=1, keepdims=True)
    return -np.log2(p[test[:-1], test[1:]]).mean()


def bits(writer, text):
    """Bits per character of a text, read in one go."""
    return CrossEntropy()(writer.scores(text[np.newaxis, :-1]), text[np.newaxis, 1:]) / math.log(2)


def main(epochs=8, hidden=160, characters=300_000, seed=0, output=OUTPUT, show=False):
    if epochs < 1 or characters < 2 * STREAMS * PIECE:
        raise ValueError(f"expected at least 1 epoch and {2 * STREAMS * PIECE} characters, got {epochs} and {characters}")
    rng = np.random.default_rng(seed)
    text = "\n".join(topics[name] for name in sorted(topics))[:characters]
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(character) for character in text])
    train, test = codes[: -len(codes) // 20], codes[-len(codes) // 20 :]
    table = bits_of_a_table(train, test, len(alphabet))
    print(f"{len(text):,} characters, {len(alphabet)} different ones; the last {len(test):,} are kept for testing")
    print(f"bits per character: {math.log2(len(alphabet)):.2f} without any knowledge, {table:.2f} with the character before")

    streams = train[: (len(train) - 1) // STREAMS * STREAMS].reshape(STREAMS, -1)
    writer = Writer(len(alphabet), hidden, rng)
    loss, optimizer = CrossEntropy(), Adam(writer.parts, lr=4e-3)
    steps, curve, tests = [], [], []
    temperatures = np.array([[0.4], [0.7], [1.0]])
    start = np.array([alphabet.index(character) for character in "The "])
    for epoch in range(1, epochs + 1):
        state = None
        for begin in range(0, streams.shape[1] - PIECE, PIECE):
            piece = streams[:, begin : begin + PIECE + 1]
            optimizer.zero_grad()
            curve.append(loss(writer.scores(piece[:, :-1], state), piece[:, 1:]) / math.log(2))
            writer.accumulate_grads(loss.compute_backward())
            clip_grad_norm(writer.parts, 1.0)
            optimizer.step()
            state = writer.memory.state  # goes on, but no gradient flows back through it: truncated backpropagation
        optimizer.lr *= 0.8
        tests.append(bits(writer, test))
        steps.append(len(curve))
        print(f"epoch {epoch}: bits per character: train {np.mean(curve[-100:]):.2f}, test {tests[-1]:.2f}")
        for temperature, row in zip(temperatures[:, 0], writer.sample(start, 100, temperatures, rng), strict=True):
            print(f"  {temperature:.1f}  The {''.join(alphabet[code] for code in row)!r}")

    figure, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    ax.plot(curve, color="0.75", linewidth=0.8, label="each piece")
    ax.plot(steps, tests, "o-", color="tab:red", label="text kept for testing")
    ax.axhline(table, color="tab:blue", linestyle="--", label="a table of pairs of characters")
    ax.set(xlabel="step", ylabel="bits per character", ylim=(0, 1.05 * max(curve)), title="An LSTM reads Python's documentation")
    ax.legend()
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
    print(f"wrote {output}")
    if show:
        plt.show()
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8, help="passes through the text")
    parser.add_argument("--hidden", type=int, default=160, help="units of the LSTM")
    parser.add_argument("--characters", type=int, default=300_000, help="how much of the text to read")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the samples")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file for the picture: .png, .pdf or .svg")
    parser.add_argument("--show", action="store_true", help="open a window as well")
    try:
        main(**vars(parser.parse_args()))
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except (OSError, ValueError) as error:
        parser.error(str(error))
