"""A GPT from its parts: it learns to write like Python's own documentation, and shows what it looks at.

    python demos/gpt.py

The text is what `help("topics")` shows: it comes with Python, in `pydoc_data.topics`. At each of T places the net says which
character comes next, and may look at that place and those before it only. How surprised it is, is printed in nats per character;
and now and then a sample. The whole of it, forward, and backward, d being by how much the loss grows with what comes out:

    x = W[characters] + P       Embedding, PositionalEmbedding   each row that was taken receives the d of its places
    x = x + f(norm(x))          Residual, f: MultiHeadAttention  each place takes of those before it what fits; d + f'(d)
    x = x + g(norm(x))          Residual, g: Linear, GELU, Linear  each place by itself makes something of it; d + g'(d)
    ... once more for each layer: d flows through f and around it, and reaches the first layer undiminished
    scores = norm(x) W^T + b    LayerNorm, Linear; for CrossEntropy d = (softmax(scores) - what came next) / (B T)
"""

import functools
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run
from matplotlib.colors import PowerNorm

import pancake as pk

OUTPUT = Path("pictures", "gpt.png")
T, F, HEADS, LAYERS = 64, 64, 4, 3  # places, numbers for each of them, heads of attention, layers
BATCH, STEPS, CHARACTERS = 16, 25, 400_000  # texts of a step, steps of an epoch, characters in all


def gpt(n_characters, rng):
    """Characters (B, T) to the scores of what comes next, (B, T, n_characters)."""
    options = {"rng": rng, "dtype": np.float32}
    net = pk.Sequential([pk.Embedding(n_characters, F, init="lecun_normal", **options)])
    net.add(pk.PositionalEmbedding(T, F, init="lecun_normal", **options))
    for _ in range(LAYERS):
        f = pk.MultiHeadAttention(F, HEADS, causal=True, **options)
        g = pk.Linear(F, 4 * F, **options), pk.GELU("tanh"), pk.Linear(4 * F, F, init="lecun_normal", **options)
        net.add(pk.Residual(pk.Sequential([pk.LayerNorm(F, **options), f])))
        net.add(pk.Residual(pk.Sequential([pk.LayerNorm(F, **options), *g])))
    return net.add(pk.LayerNorm(F, **options)).add(pk.Linear(F, n_characters, init="lecun_normal", **options))


def one_more(part, x, past):
    """What a part of the net puts out for one more place, x (1, 1, F): `past` keeps keys and values of those before it."""
    if isinstance(part, pk.Sequential):
        return functools.reduce(lambda x, f: one_more(f, x, past), part, x)
    if isinstance(part, pk.Residual):
        return x + one_more(part.f, x, past)
    if isinstance(part, pk.PositionalEmbedding):
        past["place"] = past.get("place", -1) + 1
        return x + part.weight[past["place"]]
    if not isinstance(part, pk.MultiHeadAttention):
        return part(x)
    q, k, v = (x @ part.in_proj_weight.T + part.in_proj_bias).reshape(3, part.heads, 1, -1)
    if part in past:
        k, v = (np.concatenate(pair, axis=1) for pair in zip(past[part], (k, v), strict=True))
    past[part] = k, v  # (heads, places so far, D)
    looks = pk.Softmax()(q @ k.swapaxes(1, 2) / np.sqrt(np.float32(F / part.heads)))
    past.setdefault("looks", []).append(looks[:, 0])  # (heads, places so far): how much of each place this one takes
    return part.out_proj((looks @ v).reshape(x.shape))


def write(net, start, temperature, rng):
    """Go on from the characters `start` until there are T; also what the heads of the last layer have looked at, (T, T)."""
    text, past = list(start), {}
    for place in range(T):
        scores = one_more(net, np.array([[text[place]]]), past)[0, 0]
        if place + 1 >= len(start):  # the largest of the scores plus Gumbel noise is a draw from their softmax
            text.append(int((scores / temperature + rng.gumbel(size=scores.shape)).argmax()))
    looks = np.zeros((T, T))
    for place, heads in enumerate(past["looks"][LAYERS - 1 :: LAYERS]):
        looks[place, : place + 1] = heads.max(axis=0)
    return text, looks


def main(epochs=60, seed=0, output=OUTPUT, show=False):
    rng = np.random.default_rng(seed)
    text = "\n".join(topics[name] for name in sorted(topics))[:CHARACTERS]
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(character) for character in text])
    train, test = codes[: -300 * (T + 1)], codes[-300 * (T + 1) :].reshape(-1, T + 1)
    net, loss = gpt(len(alphabet), rng), pk.CrossEntropy()
    optimizer, rate = pk.AdamW(net), pk.cosine(4e-3, epochs * STEPS, lr_min=4e-4)
    print(f"{len(alphabet)} characters, {np.log(len(alphabet)):.2f} nats for a guess; {net.num_parameters:,} parameters")
    curve, tests = [], []
    for epoch in range(1, epochs + 1):
        for step in range(len(curve), len(curve) + STEPS):
            texts = train[rng.integers(0, len(train) - T, BATCH)[:, np.newaxis] + np.arange(T + 1)]
            optimizer.lr = rate(step) * min(1, (step + 1) / 50)
            optimizer.zero_grad()
            curve.append(loss(net(texts[:, :-1]), texts[:, 1:]))
            net.accumulate_grads(loss.compute_backward())
            pk.clip_grad_norm(net, 1.0)
            optimizer.step()
        tests.append(pk.evaluate(net, loss, test[:, :-1], test[:, 1:])["loss"])
        print(f"epoch {epoch}: nats per character: train {np.mean(curve[-STEPS:]):.2f}, test {tests[-1]:.2f}")
        if epoch % max(epochs // 8, 1) == 0:
            written, looks = write(net, [alphabet.index(character) for character in "The "], 0.6, rng)
            print(f"  {''.join(alphabet[code] for code in written)!r}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 7), width_ratios=[1, 1.4], layout="constrained")
    left.plot(curve, color="0.75", linewidth=0.8, label="each step")
    left.plot(np.arange(1, epochs + 1) * STEPS, tests, color="tab:red", label="text kept for testing")
    left.set(xlabel="step", ylabel="nats per character", ylim=(0, None), title="A GPT reads Python's documentation")
    left.legend()
    read = np.where(np.tri(T, dtype=bool), looks, np.nan)  # what is nan is not drawn
    image = right.imshow(read, cmap="magma", norm=PowerNorm(0.5, 0, 1))  # small shares are told apart as well
    figure.colorbar(image, ax=right, shrink=0.8, label="share of its attention, of the head where it is largest")
    right.set(xlabel="looks at (grey: not yet read)", ylabel="this character", facecolor="0.85")
    right.set_title("What the heads of the last layer look at")
    for ticks in (right.set_xticks, right.set_yticks):
        ticks(range(T), [alphabet[code].replace("\n", "\\n") for code in written[:-1]], family="monospace", fontsize=6)
    finish(figure, output, show, dpi=120)


if __name__ == "__main__":
    run(main, __doc__, epochs=f"of {STEPS} steps", seed="of the initial weights, the batches and the samples")
