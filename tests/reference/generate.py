"""Write reference.npz: what torch computes for every brick that it has, with the inputs that it computed from.

Run it where torch is installed: `python tests/reference/generate.py`. The tests compare pancake with the file, and, where
torch is installed, with torch itself on other inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("reference.npz")
SEED = 20261122
Arrays = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One brick: expressions that make it in pancake and in torch, and what to feed it.

    `x` is "real", "positive", "tame" or "index V"; the first two have points at which derivatives jump among them, and large
    numbers, of whose squares and differences nothing exact is left; "tame" has none. `shape` ends with the features; axes
    may be put before it where `leading`.
    """

    pancake: str
    torch: str
    shape: tuple[int, ...] = (4, 3)
    x: str = "real"
    leading: bool = True
    training: bool = True


EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 30.0, -30.0, 1e4, -1e4]

FUNCTIONS = [
    Case("Identity()", "nn.Identity()"),
    Case("Square()", "torch.square"),
    Case("Negate()", "torch.neg"),
    Case("Subtract(0.5)", "lambda x: x - 0.5"),
    Case("Subtract([0.5, -1.0, 2.0])", "lambda x: x - torch.tensor([0.5, -1.0, 2.0], dtype=x.dtype)"),
    Case("Sum()", "torch.sum"),
    Case("Sum(axis=0)", "lambda x: x.sum(0)"),
    Case("Sum(axis=(0, -1))", "lambda x: x.sum((0, -1))"),
    Case("Mean()", "torch.mean"),
    Case("Mean(axis=-1)", "lambda x: x.mean(-1)"),
    Case("Mean(axis=(0, 1))", "lambda x: x.mean((0, 1))"),
    Case("Exp()", "torch.exp"),
    Case("Log()", "torch.log", x="positive"),
    Case("Abs()", "torch.abs"),
    Case("Power(2)", "lambda x: x ** 2"),
    Case("Power(3)", "lambda x: x ** 3"),
    Case("Power(0)", "lambda x: x ** 0"),
    Case("Power(1)", "lambda x: x ** 1"),
    Case("Power(0.5)", "lambda x: x ** 0.5", x="positive"),
    Case("Power(-1.5)", "lambda x: x ** -1.5", x="positive"),
    Case("Clip(-0.5, 1.0)", "lambda x: x.clamp(-0.5, 1.0)"),
    Case("Clip(None, 0.5)", "lambda x: x.clamp(max=0.5)"),
    Case("Sigmoid()", "nn.Sigmoid()"),
    Case("Tanh()", "nn.Tanh()"),
    Case("HardTanh()", "nn.Hardtanh()"),
    Case("ReLU()", "nn.ReLU()"),
    Case("LeakyReLU()", "nn.LeakyReLU()"),
    Case("LeakyReLU(negative_slope=1.5)", "nn.LeakyReLU(1.5)"),
    Case("PReLU()", "nn.PReLU()"),
    Case("PReLU(num_parameters=3)", "nn.PReLU(3)", leading=False),
    Case("ELU()", "nn.ELU()"),
    Case("ELU(alpha=0.7)", "nn.ELU(0.7)"),
    Case("SELU()", "nn.SELU()"),
    Case("GELU()", "nn.GELU()"),
    Case("GELU(approximate='tanh')", "nn.GELU('tanh')"),
    Case("SiLU()", "nn.SiLU()"),
    Case("Mish()", "nn.Mish()"),
    Case("Softplus()", "nn.Softplus()"),
    Case("Softplus(beta=1.5)", "nn.Softplus(1.5)"),
    Case("Softsign()", "nn.Softsign()"),
    Case("Softmax()", "nn.Softmax(-1)"),
    Case("Softmax(axis=0)", "nn.Softmax(0)"),
    Case("LogSoftmax()", "nn.LogSoftmax(-1)"),
    Case("LogSoftmax(axis=0)", "nn.LogSoftmax(0)"),
    Case("Dropout(p=0.0)", "nn.Dropout(0.0)"),
    Case("Dropout(p=1.0)", "nn.Dropout(1.0)"),
    Case("Dropout(p=0.3)", "nn.Dropout(0.3)", training=False),
    Case("BatchNorm(3)", "nn.BatchNorm1d(3)", leading=False),
    Case("BatchNorm(3, momentum=0.3, eps=0.1)", "nn.BatchNorm1d(3, momentum=0.3, eps=0.1)", leading=False),
    Case("BatchNorm(3)", "nn.BatchNorm1d(3)", leading=False, training=False),
    Case("LayerNorm(3)", "nn.LayerNorm(3)"),
    Case("LayerNorm(3, eps=0.1)", "nn.LayerNorm(3, eps=0.1)"),
    Case("Linear(3, 2)", "nn.Linear(3, 2)"),
    Case("Linear(3, 2, bias=False)", "nn.Linear(3, 2, bias=False)"),
    Case("MatMul(3, 2)", "nn.Linear(3, 2, bias=False)"),
    Case("Sequential([MatMul(3, 2), AddBias(2)])", "nn.Linear(3, 2)"),
    Case("MultiHeadAttention(4, 2)", "attention(4, 2)", (2, 3, 4), "tame", leading=False),
    Case("MultiHeadAttention(6, 3, causal=True)", "attention(6, 3, causal=True)", (2, 3, 6), "tame", leading=False),
    Case(
        "MultiHeadAttention(4, 1, causal=True, bias=False)", "attention(4, 1, True, bias=False)", (2, 3, 4), "tame", leading=False
    ),
    Case("Embedding(5, 3)", "nn.Embedding(5, 3)", x="index 5"),
    Case("Transpose((1, 0))", "lambda x: x.permute(1, 0)", leading=False),
    Case("Transpose((0, -1, 1))", "lambda x: x.permute(0, -1, 1)", (2, 4, 3), leading=False),
    Case("Reshape((-1, 6))", "lambda x: x.reshape(-1, 6)", leading=False),
    Case("Select(1)", "lambda x: x[..., 1]"),
    Case("Select(slice(None, None, 2))", "lambda x: x[..., ::2]"),
    Case("Select([2, 0, 2])", "lambda x: x[..., [2, 0, 2]]"),
    Case("Select(-1, axis=0)", "lambda x: x[-1]"),
    Case("Flatten()", "nn.Flatten()", (2, 4, 3)),
    Case("Expand(1, 4)", "lambda x: x.unsqueeze(1).repeat_interleave(4, 1)"),
    Case("Add([Tanh(), Square()])", "lambda x: torch.tanh(x) + x * x"),
    Case("Multiply([Tanh(), Square(), Sigmoid()])", "lambda x: torch.tanh(x) * x * x * torch.sigmoid(x)"),
    Case("Concatenate([Tanh(), Square()])", "lambda x: torch.cat([torch.tanh(x), x * x], -1)"),
    Case("Concatenate([Tanh(), Square()], axis=0)", "lambda x: torch.cat([torch.tanh(x), x * x], 0)"),
    Case("Residual(Tanh())", "lambda x: x + torch.tanh(x)"),
    Case(
        "Sequential([Linear(3, 4), BatchNorm(4), PReLU(), Linear(4, 4), LayerNorm(4), SELU(), Linear(4, 2), LogSoftmax()])",
        "nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 4), nn.LayerNorm(4), nn.SELU(),"
        " nn.Linear(4, 2), nn.LogSoftmax(-1))",
        leading=False,
    ),
]


@dataclass(frozen=True)
class LossCase:
    """One loss with the options of an expression: `torch` is a function of p, t and w that returns the objective.

    `pred` is "real", "probability", "log" or "pairs"; `target` is "real", "bit", "share", "sign", "count", "label",
    "ignored" or "distribution".
    """

    pancake: str
    torch: str
    target: str
    pred: str = "real"
    weighted: bool = False


def _loss_cases() -> list[LossCase]:
    cases = []
    for r in ("mean", "sum", "none"):
        red = "" if r == "mean" else f"reduction='{r}'"
        last = f", {red}" if red else ""
        of = f".{r}()" if r != "none" else ""
        cases += [
            LossCase(f"MeanSquaredError({red})", f"F.mse_loss(p, t, reduction='{r}')", "real"),
            LossCase(f"MeanSquaredError({red})", f"(F.mse_loss(p, t, reduction='none') * w[:, None]){of}", "real", weighted=True),
            LossCase(f"MeanAbsoluteError({red})", f"F.l1_loss(p, t, reduction='{r}')", "real"),
            LossCase(f"Huber({red})", f"F.huber_loss(p, t, reduction='{r}')", "real"),
            LossCase(f"Huber(delta=0.3{last})", f"F.huber_loss(p, t, reduction='{r}', delta=0.3)", "real"),
            LossCase(f"Hinge({red})", f"torch.relu(1 - t * p){of}", "sign"),
            LossCase(f"BinaryCrossEntropy({red})", f"F.binary_cross_entropy(p, t, reduction='{r}')", "bit", "probability"),
            LossCase(f"BinaryCrossEntropy({red})", f"F.binary_cross_entropy(p, t, reduction='{r}')", "share", "probability"),
            LossCase(
                f"BinaryCrossEntropy({red})",
                f"F.binary_cross_entropy(p, t, w[:, None], reduction='{r}')",
                "share",
                "probability",
                weighted=True,
            ),
            LossCase(
                f"BinaryCrossEntropy(from_logits=True{last})",
                f"F.binary_cross_entropy_with_logits(p, t, reduction='{r}')",
                "bit",
            ),
            LossCase(
                f"BinaryCrossEntropy(from_logits=True{last})",
                f"F.binary_cross_entropy_with_logits(p, t, w[:, None], reduction='{r}')",
                "share",
                weighted=True,
            ),
            LossCase(f"NegativeLogLikelihood({red})", f"F.nll_loss(p, t, reduction='{r}')", "label", "log"),
            LossCase(
                f"NegativeLogLikelihood(class_weight=[0.5, 2.0, 0.0]{last})",
                f"F.nll_loss(p, t, torch.tensor([0.5, 2.0, 0.0], dtype=p.dtype), reduction='{r}')",
                "label",
                "log",
            ),
        ]
        for target in ("label", "distribution"):
            for smoothing in (0.0, 0.1):
                for weight in ("", "[0.5, 2.0, 0.25]"):
                    options = [f"label_smoothing={smoothing}"] if smoothing else []
                    options += [f"class_weight={weight}"] if weight else []
                    tensor = f"torch.tensor({weight}, dtype=p.dtype)" if weight else "None"
                    cases.append(
                        LossCase(
                            f"CrossEntropy({', '.join(options + [red] * bool(red))})",
                            f"F.cross_entropy(p, t, {tensor}, reduction='{r}', label_smoothing={smoothing})",
                            target,
                        )
                    )
        tensor = "torch.tensor([0.5, 2.0, 3.0], dtype=p.dtype)"
        cases += [
            LossCase(
                f"BinaryCrossEntropy(from_logits=True, pos_weight=[0.5, 2.0, 3.0]{last})",
                f"F.binary_cross_entropy_with_logits(p, t, pos_weight={tensor}, reduction='{r}')",
                "share",
            ),
            LossCase(
                f"BinaryCrossEntropy(from_logits=True, pos_weight=2.5{last})",
                f"F.binary_cross_entropy_with_logits(p, t, w[:, None], pos_weight=torch.tensor(2.5), reduction='{r}')",
                "bit",
                weighted=True,
            ),
            LossCase(f"CrossEntropy(ignore_index=-100{last})", f"F.cross_entropy(p, t, reduction='{r}')", "ignored"),
            LossCase(
                f"CrossEntropy(label_smoothing=0.1, class_weight=[0.5, 2.0, 3.0], ignore_index=-100{last})",
                f"F.cross_entropy(p, t, {tensor}, reduction='{r}', label_smoothing=0.1)",
                "ignored",
            ),
            LossCase(f"Quantile(q=0.8{last})", f"torch.maximum(0.8 * (t - p), 0.2 * (p - t)){of}", "bit"),
            LossCase(f"PoissonNLL({red})", f"F.poisson_nll_loss(p, t, reduction='{r}')", "count", "log"),
            LossCase(
                f"PoissonNLL({red})",
                f"(F.poisson_nll_loss(p, t, reduction='none') * w[:, None]){of}",
                "count",
                "log",
                weighted=True,
            ),
            LossCase(
                f"GaussianNLL({red})",
                f"F.gaussian_nll_loss(p[:, :3], t, p[:, 3:].exp(), eps=1e-30, reduction='{r}')",
                "real",
                "pairs",
            ),
            LossCase(
                f"KLDivergence({red})",
                f"F.kl_div(p, t, reduction='{'batchmean' if r == 'mean' else r}')",
                "distribution",
                "log",
            ),
        ]
        # torch has no weights of examples here; what they must do follows from the losses of the single examples
        by = {"mean": ".sum() / w.sum()", "sum": ".sum()", "none": ""}[r]
        for target in ("label", "distribution"):
            cases.append(
                LossCase(f"CrossEntropy({red})", f"(F.cross_entropy(p, t, reduction='none') * w){by}", target, weighted=True)
            )
    return cases


LOSSES = _loss_cases()

OPTIMIZERS = [
    ("SGD(model, lr=0.1)", "torch.optim.SGD(params, lr=0.1)"),
    ("SGD(model, lr=0.1, momentum=0.9)", "torch.optim.SGD(params, lr=0.1, momentum=0.9)"),
    ("SGD(model, lr=0.1, momentum=0.9, nesterov=True)", "torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True)"),
    ("SGD(model, lr=0.1, weight_decay=0.03)", "torch.optim.SGD(params, lr=0.1, weight_decay=0.03)"),
    (
        "SGD(model, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.03)",
        "torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.03)",
    ),
    ("Adam(model)", "torch.optim.Adam(params)"),
    (
        "Adam(model, lr=0.05, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.03)",
        "torch.optim.Adam(params, lr=0.05, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.03)",
    ),
    ("AdamW(model)", "torch.optim.AdamW(params)"),
    ("AdamW(model, lr=0.05, weight_decay=0.3)", "torch.optim.AdamW(params, lr=0.05, weight_decay=0.3)"),
    ("RMSprop(model)", "torch.optim.RMSprop(params)"),
    (
        "RMSprop(model, lr=0.02, alpha=0.9, eps=1e-4, momentum=0.8, weight_decay=0.03)",
        "torch.optim.RMSprop(params, lr=0.02, alpha=0.9, eps=1e-4, momentum=0.8, weight_decay=0.03)",
    ),
    ("Adagrad(model)", "torch.optim.Adagrad(params)"),
    ("Adagrad(model, lr=0.3, eps=1e-3)", "torch.optim.Adagrad(params, lr=0.3, eps=1e-3)"),
]

SCHEDULES = [
    ("step_decay(0.5, 7)", "StepLR(opt, 7)"),
    ("step_decay(0.5, 3, gamma=0.7)", "StepLR(opt, 3, 0.7)"),
    ("exponential_decay(0.5, 0.9)", "ExponentialLR(opt, 0.9)"),
    ("cosine(0.5, 40)", "CosineAnnealingLR(opt, 40)"),
    ("cosine(0.5, 40, lr_min=0.1)", "CosineAnnealingLR(opt, 40, 0.1)"),
    ("one_cycle(0.5, 41)", "OneCycleLR(opt, 0.5, total_steps=41)"),
    (
        "one_cycle(0.5, 41, pct_start=0.55, div_factor=7.0, final_div_factor=30.0)",
        "OneCycleLR(opt, 0.5, total_steps=41, pct_start=0.55, div_factor=7.0, final_div_factor=30.0)",
    ),
    ("warmup(0.5, 6)", "LinearLR(opt, total_iters=6)"),
    ("warmup(0.5, 6, start_factor=0.1)", "LinearLR(opt, 0.1, total_iters=6)"),
    (
        "warmup(cosine(0.5, 35), 6, start_factor=0.1)",
        "SequentialLR(opt, [LinearLR(opt, 0.1, total_iters=6), CosineAnnealingLR(opt, 35)], [6])",
    ),
]
STEPS = 41  # of each schedule


def draw(case: Case, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """An input for a brick."""
    if case.x.startswith("index"):
        return rng.integers(0, int(case.x.split()[1]), shape)
    if case.x == "tame":
        return rng.normal(size=shape)
    x = rng.normal(scale=2, size=shape)
    places = rng.permutation(x.size)[: x.size // 3]
    x.reshape(-1)[places] = rng.choice(EDGES, places.size)
    return np.abs(x) if case.x == "positive" else x


def draw_loss(case: LossCase, n: int, rng: np.random.Generator) -> Arrays:
    """A prediction (n, 3), a target, and weights for a loss."""
    p = rng.normal(scale=2, size=(n, 3))
    if case.pred == "probability":
        p = 1 / (1 + np.exp(-p))
        p.reshape(-1)[rng.integers(0, p.size, n)] = rng.choice([0.0, 1.0, 0.5], n)
    elif case.pred == "log":
        p -= np.log(np.exp(p).sum(axis=1, keepdims=True))
    elif case.pred == "pairs":
        p = np.concatenate([p, rng.normal(size=p.shape)], axis=1)
    else:
        p.reshape(-1)[rng.integers(0, p.size, n)] = rng.choice([-1e4, 1e4, 0.0, 1.0], n)
    t: Any
    if case.target == "label":
        t = rng.integers(0, 2, n)
    elif case.target == "ignored":
        t = rng.choice([-100, 0, 1, 2], n)
        t[0] = 1  # of nothing torch's mean is nan
    elif case.target == "distribution":
        t = rng.dirichlet(np.ones(3), n)
    else:
        t = {
            "real": rng.normal(size=p.shape),
            "bit": rng.integers(0, 2, p.shape).astype(float),
            "share": rng.uniform(size=p.shape),
            "sign": rng.choice([-1.0, 1.0], p.shape),
            "count": rng.integers(0, 5, p.shape).astype(float),
        }[case.target]
        if case.pred == "pairs":
            t = t[:, :3]
        elif case.target == "real":
            t.reshape(-1)[::4] = p.reshape(-1)[::4]  # differences of 0
    return {"pred": p, "target": t} | ({"weight": rng.uniform(size=n)} if case.weighted else {})


def function_reference(case: Case, x: Any, rng: np.random.Generator) -> Arrays:
    """What torch makes of an input: output, gradients and buffers, with the parameters and the upstream gradient drawn."""
    import torch
    from torch import nn

    class attention(nn.MultiheadAttention):
        """That of torch as a function of one input."""

        def __init__(self, n: int, heads: int, causal: bool = False, bias: bool = True) -> None:
            super().__init__(n, heads, bias=bias, batch_first=True)
            self.causal = causal

        def forward(self, x: Any) -> Any:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]).to(x.dtype) if self.causal else None
            return super().forward(x, x, x, attn_mask=mask, need_weights=False)[0]

    function = eval(case.torch, {"torch": torch, "nn": nn, "attention": attention})
    params, buffers = [], []
    if isinstance(function, nn.Module):
        function.double().train(case.training)
        params, buffers = list(function.parameters()), list(function.buffers())
        for p in params:
            p.data = torch.from_numpy(rng.normal(size=tuple(p.shape)))
        for b in buffers:
            if b.dtype == torch.float64:
                b.copy_(torch.from_numpy(rng.uniform(0.5, 2, size=tuple(b.shape))))
    arrays: Arrays = {f"param.{i}": p.detach().numpy().copy() for i, p in enumerate(params)}
    arrays |= {f"buffer.{i}": b.numpy().copy() for i, b in enumerate(buffers)}
    tensor = torch.from_numpy(np.array(x))
    tensor.requires_grad_(tensor.is_floating_point())
    y = function(tensor)
    upstream = rng.normal(size=tuple(y.shape))
    y.backward(torch.from_numpy(np.asarray(upstream)))
    arrays |= {"x": x, "upstream": upstream, "output": y.detach().numpy().copy()}
    arrays["dObj_dIn"] = np.zeros(np.shape(x)) if tensor.grad is None else tensor.grad.numpy().copy()
    arrays |= {f"grad.{i}": p.grad.numpy().copy() for i, p in enumerate(params)}
    arrays |= {f"moved.{i}": b.numpy().copy() for i, b in enumerate(buffers)}
    if isinstance(function, nn.Module):
        arrays["keys"] = np.array(list(function.state_dict()) or [""])
    return arrays


def loss_reference(case: LossCase, drawn: Arrays) -> Arrays:
    """What torch makes of a prediction: the objective, and the gradient (of the sum, where there is no reduction)."""
    import torch
    import torch.nn.functional as F

    p = torch.from_numpy(drawn["pred"].copy()).requires_grad_()
    names = {name[0]: torch.from_numpy(np.asarray(drawn[name])) for name in ("target", "weight") if name in drawn}
    value = eval(case.torch, {"torch": torch, "F": F, "p": p, **names})
    value.sum().backward()
    return {"value": value.detach().numpy().copy(), "gradient": p.grad.numpy().copy()}


def net_reference(rng: np.random.Generator) -> Arrays:
    """A task for the optimizers: a net 3-5-2 with tanh, and something to fit."""
    shapes = [(5, 3), (5,), (2, 5), (2,)]
    arrays: Arrays = {f"param.{i}": rng.normal(size=shape) for i, shape in enumerate(shapes)}
    return arrays | {"x": rng.normal(size=(8, 3)), "y": rng.normal(size=(8, 2))}


def optimizer_reference(expression: str, task: Arrays, clip: float = math.inf) -> Any:
    """All parameters of the net, one after another, after 25 steps."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    params = list(net.parameters())
    for i, p in enumerate(params):
        p.data = torch.from_numpy(task[f"param.{i}"].copy())
    optimizer = eval(expression, {"torch": torch, "params": params})
    x, y = torch.from_numpy(task["x"]), torch.from_numpy(task["y"])
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        nn.utils.clip_grad_norm_(params, clip)
        optimizer.step()
    return np.concatenate([p.detach().numpy().ravel() for p in params])


def schedule_reference(expression: str) -> Any:
    """The learning rate of each of the first steps."""
    import warnings

    import torch
    from torch.optim import lr_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR itself calls step in a way that torch has deprecated
        scheduler = eval(expression, {**vars(lr_scheduler), "opt": optimizer})
        for _ in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(rates) < STEPS:
                scheduler.step()
    return np.array(rates, dtype=np.float64)


def main() -> None:
    import torch

    rng = np.random.default_rng(SEED)
    arrays: Arrays = {"torch": np.array(torch.__version__), "numpy": np.array(np.__version__), "seed": np.array(SEED)}
    arrays["cases"] = np.array(repr((FUNCTIONS, LOSSES, OPTIMIZERS, SCHEDULES)))
    for i, case in enumerate(FUNCTIONS):
        for name, array in function_reference(case, draw(case, case.shape, rng), rng).items():
            arrays[f"function.{i}.{name}"] = array
    for i, loss in enumerate(LOSSES):
        drawn = draw_loss(loss, 5, rng)
        for name, array in {**drawn, **loss_reference(loss, drawn)}.items():
            arrays[f"loss.{i}.{name}"] = array
    task = net_reference(rng)
    arrays |= {f"task.{name}": array for name, array in task.items()}
    for i, (_, expression) in enumerate(OPTIMIZERS):
        arrays[f"optimizer.{i}"] = optimizer_reference(expression, task)
        arrays[f"clipped.{i}"] = optimizer_reference(expression, task, clip=0.1)
    for i, (_, expression) in enumerate(SCHEDULES):
        arrays[f"schedule.{i}"] = schedule_reference(expression)
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE.name}: {len(arrays)} arrays, {FILE.stat().st_size / 1000:.0f} kB, torch {torch.__version__}")


if __name__ == "__main__":
    main()
