"""Layers of images and sequences are equal to torch's to the last digits, whatever their shapes and options.

`reference/images.npz` holds what torch computed, `reference/images.py` wrote it. Where torch is installed it is asked again,
about layers and inputs that hypothesis draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose
from reference import images
from test_reference import TOLERANCE, compare_function

import pancake as pk
from pancake.testing.strategies import functions

FILE = np.load(images.FILE)


def test_file_belongs_to_these_cases() -> None:
    """After a change of the cases the file must be generated anew."""
    assert FILE["cases"].item() == repr(images.CASES)
    assert images.FILE.stat().st_size < 200_000


@pytest.mark.parametrize("i", range(len(images.CASES)), ids=[f"{case.pancake}-{case.training}" for case in images.CASES])
def test_stored(i: int) -> None:
    prefix = f"{i}."
    wanted = {name.removeprefix(prefix): FILE[name] for name in FILE.files if name.startswith(prefix)}
    compare_function(images.CASES[i], wanted)


# How a layer is made in torch: the class, and the attributes of ours that are its arguments.
CONVOLUTION = ("n_in", "n_out", "kernel_size", "stride", "padding", "dilation", "groups")
POOLING = ("kernel_size", "stride", "padding")
TORCH = {
    pk.Conv1d: ("Conv1d", CONVOLUTION),
    pk.Conv2d: ("Conv2d", CONVOLUTION),
    pk.ConvTranspose2d: ("ConvTranspose2d", CONVOLUTION),
    pk.MaxPool1d: ("MaxPool1d", POOLING),
    pk.MaxPool2d: ("MaxPool2d", POOLING),
    pk.AvgPool1d: ("AvgPool1d", POOLING),
    pk.AvgPool2d: ("AvgPool2d", POOLING),
    pk.Upsample: ("Upsample", ("scale",)),
    pk.BatchNorm2d: ("BatchNorm2d", ("n", "eps", "momentum")),
    pk.GroupNorm: ("GroupNorm", ("groups", "n", "eps")),
    pk.RMSNorm: ("RMSNorm", ("n", "eps")),
}


def in_torch(function: Any) -> Any:
    """The module of torch that is like a layer, with its parameters, buffers and mode."""
    import torch

    name, arguments = TORCH[type(function)]
    values = {argument: getattr(function, argument) for argument in arguments}
    theirs = {"n_in": "in_channels", "n_out": "out_channels", "scale": "scale_factor", "groups": "num_groups"}
    if name == "GroupNorm":
        module = torch.nn.GroupNorm(values["groups"], values["n"], values["eps"])
    elif name in ("BatchNorm2d", "RMSNorm"):
        module = getattr(torch.nn, name)(*values.values())
    else:
        options = {argument if argument == "groups" else theirs.get(argument, argument): v for argument, v in values.items()}
        options |= {"bias": function.bias is not None} if arguments is CONVOLUTION else {}
        module = getattr(torch.nn, name)(**options)
    module = module.double().train(function.training)
    module.load_state_dict({key: torch.from_numpy(array) for key, array in function.state_dict().items()})
    return module


@pytest.mark.parametrize("cls", TORCH, ids=lambda cls: cls.__name__)
def test_live(cls: Any) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; images.npz holds what it says")

    @given(functions(cls))
    def compare(drawn: Any) -> None:
        function, x = drawn
        if cls is pk.GroupNorm and x.size == function.groups:
            return  # torch refuses a single group of a single number
        module = in_torch(function)
        tensor = torch.from_numpy(x.copy()).requires_grad_()
        theirs = module(tensor)
        y = function.compute_forward(x)
        assert_allclose(y, theirs.detach().numpy(), **TOLERANCE)
        upstream = np.random.default_rng(0).normal(size=y.shape)
        theirs.backward(torch.from_numpy(upstream))
        for grad in function.get_params_and_grads()[1]:
            grad.fill(0)
        assert_allclose(function.compute_backward(upstream), tensor.grad.numpy(), **TOLERANCE)
        for grad, p in zip(function.get_params_and_grads()[1], module.parameters(), strict=True):
            assert_allclose(grad, p.grad.numpy(), **TOLERANCE)
        for key, array in module.state_dict().items():
            assert_allclose(function.state_dict()[key], array.numpy(), **TOLERANCE)

    compare()


@pytest.mark.parametrize("cls", [pk.MaxPool1d, pk.MaxPool2d])
def test_windows_of_equal_numbers_and_of_infinities(cls: Any) -> None:
    """Where all of a window is the same, -inf included, the gradient goes where torch's goes."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    axes = 1 if cls is pk.MaxPool1d else 2
    for value in (0.0, -np.inf, np.inf):
        for options in ((2,), (3, 1, 1), (3, 2, 1), (2, 3, 1)):
            x = np.full((2, 3, *(6,) * axes), value)
            function, tensor = cls(*options), torch.from_numpy(x).requires_grad_()
            y, theirs = function.compute_forward(x), getattr(torch.nn, cls.__name__)(*options)(tensor)
            upstream = np.random.default_rng(0).normal(size=y.shape)
            theirs.backward(torch.from_numpy(upstream))
            np.testing.assert_array_equal(y, theirs.detach().numpy())
            assert_allclose(function.compute_backward(upstream), tensor.grad.numpy(), **TOLERANCE)


def test_padding_beyond_the_last_stride_and_large_images() -> None:
    """One convolution of usual size."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    function = pk.Conv2d(3, 8, 5, stride=3, padding=2, dilation=2, rng=0)
    x = np.random.default_rng(0).normal(size=(4, 3, 32, 29))
    y = function.compute_forward(x)
    theirs = in_torch(function)(torch.from_numpy(x))
    assert_allclose(y, theirs.detach().numpy(), **TOLERANCE)
