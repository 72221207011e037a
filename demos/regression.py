"""Fit a noisy curve, and say how far to trust the fit: ten nets that agree where there are data and differ where there are none.

    python demos/regression.py

The curve is sin(2 x) + x / 3, seen at 120 points with noise of standard deviation 0.2, and never between 0.5 and 1.8. Each net
begins with weights of its own and sees its own draw of the points (with replacement, a bootstrap). Their mean is the forecast.
Noise and the spread of the nets make the band: two standard deviations each way. Beyond the data, where all nets go on in much
the same way, it is too narrow: agreement is not knowledge.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import Adam, MeanSquaredError, Tanh, cosine, mlp, predict

OUTPUT = Path("pictures", "regression.png")
NOISE, GAP = 0.2, (0.5, 1.8)


def curve(x):
    return np.sin(2 * x) + x / 3


def make_points(n, rng):
    """Points x (n, 1) between -3 and 3 outside the gap, and y (n, 1)."""
    x = rng.uniform(-3, 3 - (GAP[1] - GAP[0]), (n, 1))
    x = np.where(x > GAP[0], x + GAP[1] - GAP[0], x)
    return x, curve(x) + rng.normal(0, NOISE, x.shape)


def learn(x, y, epochs, rng):
    """A net that has learnt a bootstrap of the points, and its last loss."""
    model, loss = mlp([1, 64, 64, 1], activation=Tanh, init="he_normal", rng=rng), MeanSquaredError()
    model[0].bias = rng.uniform(-3, 3, 64)  # so that the units bend the curve in different places
    optimizer, schedule = Adam(model), cosine(0.01, epochs)
    rows = rng.integers(0, len(x), len(x))
    for epoch in range(epochs):
        optimizer.lr = schedule(epoch)
        optimizer.zero_grad()
        objective = loss(model(x[rows]), y[rows])
        model.accumulate_grads(loss.compute_backward())
        optimizer.step()
    return model, objective


def main(epochs=500, nets=10, seed=0, output=OUTPUT, show=False):
    rng = np.random.default_rng(seed)
    x, y = make_points(120, rng)
    grid = np.linspace(-4, 4, 401)[:, np.newaxis]
    curves, residuals = [], []
    for i in range(1, nets + 1):
        model, objective = learn(x, y, epochs, rng)
        curves.append(predict(model, grid)[:, 0])
        residuals.append(predict(model, x) - y)
        print(f"net {i:2} of {nets}: mean squared error {objective:.4f}")
    mean, spread = np.mean(curves, axis=0), np.std(curves, axis=0)
    noise = np.sqrt(np.mean(np.square(residuals)))
    total = np.sqrt(spread**2 + noise**2)

    places = {"where there are data": abs(grid[:, 0]) <= 3, "in the gap": np.ones(len(grid), bool), "beyond": abs(grid[:, 0]) > 3}
    places["in the gap"] = (grid[:, 0] > GAP[0]) & (grid[:, 0] < GAP[1])
    places["where there are data"] &= ~places["in the gap"]
    print(f"noise: {noise:.3f} estimated, {NOISE} in truth")
    for name, there in places.items():
        error = np.abs(mean - curve(grid[:, 0]))[there].mean()
        print(f"{name:21} the nets differ by {spread[there].mean():.3f} (standard deviation), the mean errs by {error:.3f}")
    x_new, y_new = make_points(2000, rng)
    forecast, deviation = (np.interp(x_new[:, 0], grid[:, 0], values) for values in (mean, total))
    inside = (np.abs(y_new[:, 0] - forecast) < 2 * deviation).mean()
    print(f"in the band of two standard deviations: {inside:.1%} of 2,000 new points")

    figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
    ax.fill_between(
        grid[:, 0],
        mean - 2 * total,
        mean + 2 * total,
        color="tab:blue",
        alpha=0.12,
        linewidth=0,
        label="± 2 sigma: nets and noise",
    )
    ax.fill_between(
        grid[:, 0], mean - 2 * spread, mean + 2 * spread, color="tab:blue", alpha=0.25, linewidth=0, label="± 2 sigma: nets"
    )
    ax.plot(grid[:, 0], np.transpose(curves), color="tab:blue", linewidth=0.5, alpha=0.5)
    ax.plot(grid[:, 0], mean, color="tab:blue", linewidth=2, label=f"mean of {nets} nets")
    ax.plot(grid[:, 0], curve(grid[:, 0]), "--", color="black", linewidth=1.2, label="truth")
    ax.plot(x, y, "o", color="tab:orange", ms=4, markeredgecolor="white", markeredgewidth=0.4, label="what the nets saw")
    ax.set(xlabel="x", ylabel="y", xlim=(-4, 4), ylim=(-3, 3.6))
    ax.set_title(f"Sure where there are data: {inside:.1%} of new points are in the band")
    ax.legend(ncols=2, loc="upper left", fontsize="small")
    finish(figure, output, show, dpi=110)


if __name__ == "__main__":
    run(main, __doc__, epochs="steps of each net, each on all points", nets="how many", seed="of the points and of the nets")
