"""The chain rule on the smallest net there is, E = (k v)^2: by hand, by numbers, and by pancake.

    python demos/chain_rule.py
    python demos/chain_rule.py --k -0.5 --v 3

A number v goes in, a weight k multiplies it, and the result is squared. From the outside in: dE/da = 2 a for E = a^2, and
da/dk = v for a = k v, so dE/dk = 2 (k v) v. pancake does just that, one Function after the other, and never sees the product
of the two. Then k goes downhill by its gradient, k <- k - lr dE/dk, and E goes to 0.
"""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

from pancake import SGD, Mul, Sequential, Square

OUTPUT = Path("pictures", "chain_rule.png")


def energy(k, v):
    return (k * v) ** 2


def main(epochs=15, k=2.0, v=1.5, lr=0.05, seed=None, output=OUTPUT, show=False):
    if seed is not None:
        k, v = np.random.default_rng(seed).uniform(0.5, 2, 2)
    model = Sequential([Mul(k), Square()])
    E = model(np.array([v])).item()
    dE_dv = model.compute_backward(np.ones(1)).item()  # dE/dE is 1
    step = 1e-6
    print(f"E = (k v)^2 with k = {k:.4g}, v = {v:.4g}: forward k v = {k * v:.4g}, then E = {E:.6g}; backward:")
    print(f"{'':6}{'by hand':>14}{'by numbers':>14}{'by pancake':>14}")
    by_numbers = (
        (energy(k + step, v) - energy(k - step, v)) / (2 * step),
        (energy(k, v + step) - energy(k, v - step)) / (2 * step),
    )
    print(f"{'dE/dk':6}{2 * (k * v) * v:14.8f}{by_numbers[0]:14.8f}{model[0].grad_k.item():14.8f}")
    print(f"{'dE/dv':6}{2 * (k * v) * k:14.8f}{by_numbers[1]:14.8f}{dE_dv:14.8f}")

    optimizer = SGD(model, lr=lr)
    path = [(k, E, model[0].grad_k.item())]
    for epoch in range(1, epochs + 1):
        optimizer.step()
        optimizer.zero_grad()
        E = model(np.array([v])).item()
        model.compute_backward(np.ones(1))
        path.append((model[0].k.item(), E, model[0].grad_k.item()))
        if epoch % max(epochs // 5, 1) == 0:
            print(f"step {epoch:3}: k {path[-1][0]:9.6f}, E {E:.3e}, dE/dk {path[-1][2]:9.6f}")
        if path[-1][1] > 1e6 * path[0][1]:
            print(f"step {epoch:3}: E {E:.3e}; the steps are too long")
            break

    ks, Es, slopes = np.array(path).T
    far = 1.25 * np.abs(ks).max()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    grid = np.linspace(-far, far, 300)
    left.plot(grid, energy(grid, v), color="0.6", label=f"E = (k v)², v = {v:.3g}")
    around = ks[0] + np.array([-0.4, 0.4]) * far
    left.plot(around, Es[0] + slopes[0] * (around - ks[0]), color="tab:orange", label=f"tangent: dE/dk = {slopes[0]:.3g}")
    left.plot(ks, Es, "o-", color="tab:blue", ms=5, linewidth=1, label="k ← k - lr dE/dk")
    left.set(xlabel="k", ylabel="E", ylim=(-0.06 * Es.max(), 1.3 * Es.max()), title="downhill along the tangent")
    left.legend(loc="upper center")
    right.plot(Es, "o-", color="tab:blue", ms=5, label="E")
    right.set(
        xlabel="step", ylabel="E", title="each step shrinks E by the same factor" if Es[-1] < Es[0] else "the steps are too long"
    )
    if Es.min() > 0:
        right.set_yscale("log")
    finish(figure, output, show, dpi=120)


def check(options):
    """What is wrong with the options, or None."""
    if options.lr >= 1:
        return f"expected --lr of less than 1, got {options.lr}"
    if not all(math.isfinite(number) and 0 < abs(number) < 1000 for number in (options.k, options.v)):
        return f"expected --k and --v to be numbers other than 0, up to 1000, got {options.k} and {options.v}"
    return None


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=check,
        epochs="steps downhill",
        k="the weight",
        v="the input",
        lr="learning rate",
        seed={"type": int, "help": "draw k and v at random instead"},
    )
