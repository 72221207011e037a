"""Other people's layers: `adapt`, `check_vjp`, `ignore=`, a forward alone, and who is told which of these to use."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from gallery import wrong

import pancake as pk
from pancake.testing import GradientError, adapt, check_function, check_gradients, check_vjp, mutate, numerical_gradients

rng = np.random.default_rng(0)
X, W, B = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)


def complaint(check, *args, **options):
    with pytest.raises(GradientError) as caught:
        check(*args, **options)
    return str(caught.value)


# --- check_vjp ---


def project(x, w):
    return np.sin(x) @ w


def project_back(d, x, w):
    return (d @ w.T) * np.cos(x), np.sin(x).T @ d


def test_the_inputs_of_plain_functions_have_the_names_of_forward():
    report = check_vjp(project, project_back, X, W)
    assert report.function == "project"
    assert [(a.name, a.right) for a in report.arrays] == [("x", 12), ("w", 6)]
    assert [
        a.name
        for a in check_vjp(np.arctan2, lambda d, a, b: (d * b / (a * a + b * b), -d * a / (a * a + b * b)), X, X + 9).arrays
    ] == [
        "x[0]",
        "x[1]",
    ]


def test_wrong_plain_functions():
    assert "project.w[" in complaint(check_vjp, project, lambda d, x, w: (project_back(d, x, w)[0], -(np.sin(x).T @ d)), X, W)
    assert "must return 2 gradients" in complaint(check_vjp, project, lambda d, x, w: d @ w.T, X, W)
    assert "not linear" in complaint(check_vjp, np.sin, lambda d, x: np.cos(x) * np.linalg.norm(d) * (d / np.linalg.norm(d)), X)
    assert "writes to an array that it was given" in complaint(
        check_vjp, np.sin, lambda d, x: np.multiply(d, np.cos(x), out=d), X
    )
    for arguments in ((np.sin, None, X), (np.sin, np.cos), (int, np.cos, X)):
        with pytest.raises(TypeError, match="check_vjp: expected"):
            check_vjp(*arguments)
    with pytest.raises(TypeError, match=r"expected the options wrt, .* got step"):
        check_vjp(np.sin, np.cos, X, step=1)


def test_several_outputs_and_a_cache():
    def forward(x, w):
        y = np.tanh(x @ w)
        return (y, y.sum(axis=1)), (x, w, y)

    def backward(upstream, cache):
        (d, of_sums), (x, w, y) = upstream, cache
        dz = (d + of_sums[:, None]) * (1 - y * y)
        return dz @ w.T, x.T @ dz

    assert check_vjp(forward, backward, X, W, cache=True).ok
    assert r"expected it to return (out, cache)" in complaint(check_vjp, project, backward, X, W, cache=True)


def test_the_lines_reproduce_the_failure_of_plain_functions():
    backward = lambda d, x, w: (d @ w.T, np.sin(x).T @ d)  # noqa: E731
    lines = complaint(check_vjp, project, backward, X, W, rtol=1e-5).split("To reproduce:\n\n")[1]
    assert lines.endswith("check_vjp(project, backward, x, w, rtol=1e-05)")
    with pytest.raises(GradientError, match=r"project\.x\["):
        exec(lines, {"project": project, "backward": backward})


# --- adapt ---


class Dense:
    """Gradients are overwritten."""

    def __init__(self, sign=1.0):
        self.W, self.b, self.sign = W.copy(), B.copy(), sign

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, d):
        self.dW, self.db = self.sign * (self.x.T @ d), d.sum(axis=0)
        return d @ self.W.T


class Adds(Dense):
    """Gradients are added to, in place."""

    def __init__(self):
        super().__init__()
        self.dW, self.db = np.ones((3, 2)), np.ones(2)

    def backward(self, d):
        self.dW += self.x.T @ d
        self.db += d.sum(axis=0)
        return d @ self.W.T


class HalvesInEvaluation(Dense):
    training = True

    def forward(self, x):
        return super().forward(x if self.training else x / 2)


NAMES = {"params": ["W", "b"], "grads": ["dW", "db"]}


def test_gradients_that_are_overwritten_or_added_to_add_up():
    for cls in (Dense, Adds):
        layer = adapt(cls(), **NAMES)
        check_function(layer, X)
        for grad in layer.get_params_and_grads()[1]:
            grad[...] = 0
        for _ in range(3):
            d = np.ones_like(layer.compute_forward(X))
            layer.compute_backward(d)
        np.testing.assert_allclose(layer.get_params_and_grads()[1][1], [12, 12])


def test_the_layers_own_names_in_every_complaint():
    said = complaint(check_function, adapt(Dense(-1.0), **NAMES), X).split("\n\nTo reproduce")[0]
    assert "Dense.W[" in said
    assert "adapt" not in said.lower()
    assert "first.W[" in complaint(check_gradients, adapt(Dense(-1.0), **NAMES, name="first"), X)
    assert "Dense.forward raised ValueError" in complaint(check_function, adapt(Dense(), **NAMES), np.ones((4, 7)))


def test_the_mode_of_an_adapted_layer_is_that_of_the_layer():
    layer = adapt(HalvesInEvaluation(), **NAMES)
    assert "in evaluation mode: HalvesInEvaluation.x[" in complaint(check_function, layer, X)
    assert layer.training is layer.layer.training is True
    assert not hasattr(adapt(Dense(), **NAMES), "training")


def test_copies_of_adapted_layers_are_independent():
    layer = adapt(Dense(), **NAMES)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        twin.get_params_and_grads()[0][0][...] = 0
        assert np.array_equal(twin.compute_forward(X), np.tile(B, (4, 1)))
        assert np.array_equal(layer.compute_forward(X), X @ W + B)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"forward": "fwd"}, r"Dense has no method 'fwd'; pass forward= with one of backward, forward"),
        ({"params": ["V"]}, "Dense has no attribute 'V'; it has W, b, sign"),
        ({"grads": ["dW"]}, "expected params= beside grads="),
        ({"params": ["sign"]}, "expected the parameter sign of Dense to be an array, got float"),
    ],
)
def test_what_adapt_does_not_find_is_named(options, said):
    with pytest.raises(TypeError, match=said):
        adapt(Dense(), **options)


def test_gradients_that_are_missing_or_of_another_shape():
    class Forgets(Dense):
        def backward(self, d):
            self.dW, self.db = self.x.T @ d, None
            return d @ self.W.T

    class KeepsDims(Dense):
        def backward(self, d):
            self.dW, self.db = self.x.T @ d, d.sum(axis=0, keepdims=True)
            return d @ self.W.T

    assert "Forgets: backward left no gradient of b" in complaint(check_function, adapt(Forgets(), **NAMES), X)
    assert "the gradient of b has shape (1, 2), the parameter (2,)" in complaint(check_function, adapt(KeepsDims(), **NAMES), X)


# --- who is told what ---


def test_strangers_are_told_what_to_use():
    for check in (check_function, check_gradients):
        for thing, said in ((Dense(), "pancake.testing.adapt"), (np.tanh, "check_vjp"), (lambda x: x, "check_vjp"), (3, "adapt")):
            with pytest.raises(TypeError, match=said):
                check(thing, X)
        with pytest.raises(TypeError, match=r"pass Dense\(\.\.\.\), or let pancake.testing.gradient_property\(Dense"):
            check(Dense, X)


def test_numerical_gradients_of_a_forward_alone():
    found = numerical_gradients(np.sin, X)
    np.testing.assert_allclose(found["x"], np.cos(X), rtol=1e-9)
    found = numerical_gradients(project, (X, W), dObj_dOut=2.0)
    np.testing.assert_allclose(found["x[1]"], 2 * np.tile(np.sin(X).sum(axis=0)[:, None], (1, 2)), rtol=1e-9)
    np.testing.assert_allclose(numerical_gradients(Dense(), X)["x"], np.tile(W.sum(axis=1), (4, 1)), rtol=1e-9)


# --- ignore ---


class Locked(wrong.Dense):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class HandsOn(pk.Function):
    def compute_forward(self, x):
        return x

    def compute_backward(self, dObj_dOut):
        return dObj_dOut


class Single(wrong.Map):
    def compute_forward(self, x):
        return super().compute_forward(x.astype(np.float32))

    def compute_backward(self, dObj_dOut):
        return super().compute_backward(dObj_dOut.astype(np.float32))


IGNORED = {
    "copies": Locked,
    "views": HandsOn,
    "float32": Single,
    "accumulates": wrong.Overwrites,
    "randomness": wrong.DrawsFromTheGlobalGenerator,
}


@pytest.mark.parametrize("word", IGNORED)
def test_what_is_not_promised_can_be_left_out(word):
    others = tuple(other for other in IGNORED if other != word)
    complaint(check_function, IGNORED[word](), X, ignore=others)
    report = check_function(IGNORED[word](), X, ignore=word)
    assert f"{word}: not checked, as asked for by ignore" in report.summary()
    with pytest.raises(ValueError, match="expected ignore to be of copies, float32, randomness, accumulates, views, got copy"):
        check_function(IGNORED[word](), X, ignore=("copy",))
    assert "sign" in complaint(check_function, wrong.SignOfWeight(), X, ignore=tuple(IGNORED))


def test_closures_and_foreign_objects_that_cannot_be_copied_are_noted():
    def layer():
        gain = np.array([2.0, 3.0, 4.0])

        class Closed(pk.Function):
            def __init__(self):
                self.k, self.grad_k = gain, np.zeros(3)
                self.apply = lambda x: x * gain

            def compute_forward(self, x):
                self.x = x
                return self.apply(x)

            def compute_backward(self, dObj_dOut):
                self.grad_k += (dObj_dOut * self.x).sum(axis=0)
                return dObj_dOut * gain

        return Closed()

    assert "copies: not checked, there is a closure" in check_function(layer(), X).summary()

    class Foreign(Dense):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    assert "copies: not checked, copy.deepcopy raised" in check_function(adapt(Foreign(), **NAMES), X).summary()


# --- mutate ---


@pytest.mark.slow
def test_mutate_plants_every_kind_of_fault_and_sees_them():
    report = mutate(wrong.Dense(), X)
    assert not report.survivors, report
    assert report.score == 1
    changes = {fault.change for fault in report.caught}
    for change in (
        "1 - self.y ** 2 -> 1 + self.y ** 2",
        "dz.T -> dz",
        "dz.sum(axis=0) -> dz.mean(axis=0)",
        "d * (1 - self.y ** 2) -> d",
    ):
        assert change in changes
    assert {fault.where for fault in report.caught} >= {"Dense.compute_backward", "Dense.slope", "Dense.of_bias"}


def test_mutate_lists_what_survives_with_its_line_and_leaves_the_class_as_it_was():
    before = vars(Survives).copy()
    report = mutate(Survives(), X)
    (fault,) = report.survivors
    assert fault.change == "d * 1.0 -> d"
    assert str(report).endswith(f"Survives.compute_backward, line {fault.line}: d * 1.0 -> d")
    with open(__file__) as file:
        assert file.readlines()[fault.line - 1].strip() == fault.text == "return d * 1.0 * self.slope"
    assert vars(Survives) == before


class Survives(pk.Function):
    def compute_forward(self, x):
        self.slope = np.cos(x)
        return np.sin(x)

    def compute_backward(self, d):
        return d * 1.0 * self.slope


def test_mutate_wants_a_right_function_with_a_source():
    with pytest.raises(GradientError, match="sign"):
        mutate(wrong.SignOfWeight(), X)
    names = {"pk": pk}
    exec(
        "class Typed(pk.Function):\n    compute_forward = lambda s, x: 2 * x\n    def compute_backward(self, d): return 2 * d",
        names,
    )
    with pytest.raises(TypeError, match="mutate: Typed has no source"):
        mutate(names["Typed"](), X)
