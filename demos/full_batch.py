"""Race Adam, L-BFGS and Levenberg-Marquardt to the bottom: a curve without noise, a net of 217 parameters, all points at once.

    python demos/full_batch.py

Where a small net is to be as exact as it can, methods that know how the loss curves leave steps along the gradient behind by
powers of ten. Each makes as many steps as take about as long, on one thread, as the others'. Needs SciPy, for L-BFGS.
"""

import importlib.util
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

import pancake as pk

OUTPUT = Path("pictures", "full_batch.png")
NEEDED = "L-BFGS is SciPy's: pip install scipy"


def curve(x):
    return np.sin(4 * x) * np.exp(-x)


def adam(model, loss, x, y, epochs):
    return pk.fit(model, loss, pk.Adam(model, lr=0.01), x, y, epochs=50 * epochs, batch_size=len(x), progress=False)


def lbfgs(model, loss, x, y, epochs):
    return pk.minimize(model, loss, x, y, max_iter=15 * epochs)


def levenberg_marquardt(model, loss, x, y, epochs):
    return pk.minimize(model, loss, x, y, method="Levenberg-Marquardt", max_iter=epochs)


RACERS = {"Adam": adam, "L-BFGS": lbfgs, "Levenberg-Marquardt": levenberg_marquardt}


def main(epochs=200, seed=0, output=OUTPUT, show=False):
    x, loss = np.linspace(-1, 1, 200)[:, np.newaxis], pk.MeanSquaredError()
    y = curve(x)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    print("                       steps   seconds   mean squared error")
    for name, train in RACERS.items():
        model = pk.mlp([1, 72, 1], activation=pk.Tanh, rng=seed)
        start = time.process_time()
        history = train(model, loss, x, y, epochs)
        seconds, losses = time.process_time() - start, history["loss"]
        if history.interrupted:
            raise KeyboardInterrupt
        print(f"{name:20} {len(losses):7,} {seconds:9.2f}   {losses[-1]:.1e}")
        left.plot(np.linspace(0, seconds, len(losses) + 1)[1:], losses, label=f"{name}: {losses[-1]:.1e}")
        right.plot(x, np.abs(pk.predict(model, x) - y), label=name)
    left.set(xscale="log", yscale="log", xlabel="seconds of one processor", ylabel="mean squared error", title="the race")
    right.set(yscale="log", ylim=(1e-9, None), xlabel="x", ylabel="|net - curve|", title="where the nets are off in the end")
    left.legend()
    right.legend(loc="lower right")
    finish(figure, output, show, dpi=120)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=lambda _: None if importlib.util.find_spec("scipy") else NEEDED,
        epochs="of Levenberg-Marquardt; L-BFGS has 15, Adam 50 times as many",
        seed="of the initial weights",
    )
