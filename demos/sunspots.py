"""Forecast the sunspots of next year, with a state that is carried through three centuries.

    python demos/sunspots.py

A GRU reads the yearly sunspot numbers from 1700 on, one after the other. It learns in pieces of 20 years: the state goes on from
piece to piece, the gradient does not, which is truncated backpropagation through time. The years from 1930 on are kept for
testing. Two forecasts are there to compare with: next year is like this year, and the best linear one from the last nine
years, which a net with 230 years to learn from does not beat: over the seeds 0 and 1 it errs by 17.3 and 18.8 sunspots, the
linear forecast by 16.0, no change by 31.8. Last it goes on by itself from 1990, reading its own forecasts.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import AdamW, GRUCell, Linear, MeanSquaredError, Unrolled, clip_grad_norm

HERE = Path(__file__).parent
OUTPUT = Path("pictures", "sunspots.png")
PIECE, TEST, ALONE, LAGS = 20, 1930, 1990, 9


def load_sunspots():
    """Years (309,) and their mean sunspot numbers."""
    with open(HERE / "data" / "sunspots.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([int(row["YEAR"]) for row in rows]), np.array([float(row["SUNACTIVITY"]) for row in rows])


def linear_forecasts(z, first):
    """Forecasts of z[first:] from the LAGS years before, by least squares on all that is before `first`."""
    lags = np.stack([z[LAGS - k : len(z) - k] for k in range(1, LAGS + 1)] + [np.ones(len(z) - LAGS)], axis=1)
    coefficients, *_ = np.linalg.lstsq(lags[: first - LAGS], z[LAGS:first], rcond=None)
    return lags[first - LAGS :] @ coefficients


def main(epochs=100, hidden=16, seed=0, output=OUTPUT, show=False):
    years, numbers = load_sunspots()
    first = TEST - years[0]
    root = np.sqrt(numbers)  # of which the noise is about the same in quiet and in active years
    mean, std = root[:first].mean(), root[:first].std()
    z = (root - mean) / std
    inputs, targets = z[np.newaxis, :-1, np.newaxis], z[np.newaxis, 1:, np.newaxis]  # (1, T, 1): one long sequence

    def to_numbers(z):
        return np.maximum(z * std + mean, 0) ** 2

    rng = np.random.default_rng(seed)
    parts = memory, output_layer = [Unrolled(GRUCell(1, hidden, rng=rng)), Linear(hidden, 1, rng=rng)]
    loss, optimizer = MeanSquaredError(), AdamW(parts, lr=5e-3, weight_decay=0.1)
    for epoch in range(1, epochs + 1):
        state, losses = None, []
        for begin in range(0, first - 1, PIECE):
            piece = slice(begin, min(begin + PIECE, first - 1))
            optimizer.zero_grad()
            forecast = output_layer(memory(inputs[:, piece], state))
            losses.append(loss(forecast, targets[:, piece]))
            memory.accumulate_grads(output_layer.compute_backward(loss.compute_backward()))
            clip_grad_norm(parts, 1.0)
            optimizer.step()
            state = memory.state
        if epoch % max(epochs // 5, 1) == 0:
            print(f"epoch {epoch:4}: mean squared error {np.mean(losses):.4f} of the variance")

    forecasts = to_numbers(output_layer(memory(inputs))[0, :, 0])  # of the years from 1701 on
    errors = {
        "like this year": numbers[first - 1 : -1] - numbers[first:],
        f"linear, from {LAGS} years": to_numbers(linear_forecasts(z, first)) - numbers[first:],
        "GRU": forecasts[first - 1 :] - numbers[first:],
    }
    print(f"root mean square error of the forecasts for {TEST} to {years[-1]}, in sunspots:")
    for name, error in errors.items():
        print(f"  {name:22} {np.sqrt(np.mean(error**2)):5.1f}")

    alone = ALONE - years[0]
    value, own = output_layer(memory(inputs[:, :alone])[:, -1:]), []
    for _ in years[alone:]:
        own.append(value.item())
        value = output_layer(memory(value, memory.state))
    own = to_numbers(np.array(own))
    print(f"on its own from {ALONE} on: {np.sqrt(np.mean((own - numbers[alone:]) ** 2)):.1f}")

    figure, ax = plt.subplots(figsize=(12, 4.5), layout="constrained")
    ax.plot(years, numbers, color="black", linewidth=1.2, label="observed")
    ax.plot(years[1:first], forecasts[: first - 1], color="tab:orange", linewidth=1, label="a year ahead, in training")
    ax.plot(years[first:], forecasts[first - 1 :], color="tab:red", label="a year ahead, in testing")
    ax.plot(years[alone:], own, "--", color="tab:blue", label=f"on its own from {ALONE} on")
    ax.axvline(TEST - 0.5, color="0.5", linewidth=0.8, label=f"from {TEST} on: kept for testing")
    ax.set(xlabel="year", ylabel="sunspot number", ylim=(0, 1.3 * numbers.max()), xlim=(years[0], years[-1] + 1))
    ax.set_title("Yearly sunspot numbers and what a GRU makes of them")
    ax.legend(ncols=3, loc="upper left", fontsize="small")
    finish(figure, output, show, dpi=120)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        epochs="passes through the years of training",
        hidden="units of the GRU",
        seed="of the initial weights",
    )
