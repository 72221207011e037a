"""To and from torch: equal to 1e-12 in float64 both ways; what does not fit is named, and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import booleans, data, integers, lists, sampled_from

import pancake as pk
from pancake.testing.strategies import INPUTS, examples, functions, library_classes, stacks
from pancake.torch import from_torch, load_torch, to_torch
from pancake.torch.to_modules import TABLE
from pancake.tree import named_parts


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="compares with torch itself")


@pytest.fixture(scope="module")
def nn(torch):
    return torch.nn


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def outputs(torch, module, x):
    y = module(torch.from_numpy(np.asarray(x)))
    return (y[0] if isinstance(y, tuple) else y).detach().numpy()


def close(got, expected, rtol=1e-12):
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)


# --- from torch ---

MODULES = {
    "Linear": lambda nn: nn.Linear(4, 3),
    "without bias": lambda nn: nn.Linear(4, 3, bias=False),
    "PReLU": lambda nn: nn.PReLU(4),
    "LeakyReLU": lambda nn: nn.LeakyReLU(0.3),
    "ELU": lambda nn: nn.ELU(0.7),
    "GELU": lambda nn: nn.GELU("tanh"),
    "Softplus": lambda nn: nn.Softplus(2),
    "Softmax": lambda nn: nn.Softmax(dim=0),
    "LogSoftmax": lambda nn: nn.LogSoftmax(dim=1),
    "Dropout": lambda nn: nn.Dropout(0.3).eval(),
    "LayerNorm": lambda nn: nn.LayerNorm(4, eps=0.1),
    "BatchNorm1d": lambda nn: nn.BatchNorm1d(4, eps=0.1, momentum=0.3),
    "Hardtanh": lambda nn: nn.Hardtanh(),
    "nested": lambda nn: nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Tanh(), nn.Linear(5, 2), nn.SiLU()), nn.Mish()),
    "empty": lambda nn: nn.Sequential(),
}
for _name in ("Identity", "Sigmoid", "Tanh", "ReLU", "SELU", "SiLU", "Mish", "Softsign", "Flatten"):
    MODULES[_name] = lambda nn, name=_name: getattr(nn, name)()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_becomes_a_function_with_the_same_outputs(torch, nn, name):
    torch.manual_seed(0)
    module = MODULES[name](nn).double()
    function, x = from_torch(module), drawn(1, 5, 4)
    close(function(x), outputs(torch, module, x))
    assert function.training == module.training
    back = to_torch(function)
    close(outputs(torch, back, x), function(x))


def test_a_net_for_images(torch, nn):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2),
        nn.GroupNorm(3, 6),
        nn.AvgPool2d(2, stride=1, padding=1),
        nn.Upsample(scale_factor=2),
        nn.Flatten(),
    ).double()
    x = drawn(8, 3, 1, 8, 8)
    function = from_torch(module)
    expected = outputs(torch, module, x)
    close(function(x), expected)
    close(outputs(torch, to_torch(function), x), expected)
    for other in (
        nn.Conv2d(1, 1, 3, padding="same"),
        nn.Conv1d(1, 1, 3, padding_mode="circular", padding=1),
        nn.MaxPool1d(2, ceil_mode=True),
    ):
        with pytest.raises(ValueError, match="from_torch: "):
            from_torch(other)


@pytest.mark.parametrize("size", [1, (1, 1)])
@pytest.mark.parametrize("behind", [[], ["Flatten"], ["PReLU"]])
def test_the_mean_of_whole_images(torch, nn, size, behind):
    torch.manual_seed(0)
    rest = [nn.PReLU(4) if name == "PReLU" else nn.Flatten() for name in behind]
    module = unlike(torch, nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(size), *rest))
    x = drawn(8, 3, 1, 6, 5)
    function, expected = from_torch(module), outputs(torch, module, x)
    assert function(x).shape == expected.shape
    close(function(x), expected)
    back = to_torch(function)
    close(outputs(torch, back, x), expected)
    close(from_torch(back)(x), expected)


@pytest.mark.parametrize("size", [7, (1, None), (None, 1), (2, 1), None])
def test_the_mean_of_parts_of_images_is_refused(nn, size):
    with pytest.raises(ValueError, match=r"from_torch: AdaptiveAvgPool2d at 0 has output_size=.* GlobalAvgPool2d averages whole"):
        from_torch(nn.Sequential(nn.AdaptiveAvgPool2d(size)))


@pytest.mark.parametrize(("axis", "copies"), [(0, 1), (1, 3), (-1, 2), (-3, 2)])
def test_expand(torch, axis, copies):
    x, function = drawn(9, 3, 4), pk.Expand(axis, copies)
    module = to_torch(function)
    close(outputs(torch, module, x), function(x))
    close(from_torch(module)(x), function(x))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_modules_give_their_output_sequence(torch, nn, kind, bidirectional, layers, batch_first):
    torch.manual_seed(0)
    module = getattr(nn, kind)(3, 4, layers, bidirectional=bidirectional, batch_first=batch_first).double()
    x = drawn(2, 5, 6, 3)
    expected = outputs(torch, module, x)
    close(from_torch(module)(x), expected)
    in_stack = nn.Sequential(nn.Linear(3, 3).double(), module)
    close(from_torch(in_stack)(x), outputs(torch, in_stack, x))


def test_relu_and_dropout_of_recurrent_modules(torch, nn):
    module = nn.RNN(3, 4, 2, nonlinearity="relu", dropout=0.5, batch_first=True).double().eval()
    function, x = from_torch(module), drawn(3, 2, 5, 3)
    close(function(x), outputs(torch, module, x))
    assert [type(part).__name__ for part in function] == ["Unrolled", "Dropout", "Unrolled"]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_attention_is_that_of_a_sequence_to_itself(torch, nn, batch_first, bias):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(6, 2, bias=bias, batch_first=batch_first).double().eval()
    x = drawn(4, 3, 5, 6)
    with torch.no_grad():
        t = torch.tensor(x)
        expected = module(t, t, t)[0].numpy()
    function = from_torch(module)
    close(function(x), expected)
    assert not any(part.training for part in function.walk() if isinstance(part, pk.MultiHeadAttention))
    module.requires_grad_(False)
    assert not from_torch(module).get_params_and_grads()[0]


@pytest.mark.parametrize(
    "options", [{"dropout": 0.1}, {"kdim": 3, "vdim": 3}, {"add_bias_kv": True}, {"add_zero_attn": True}], ids=str
)
def test_attention_that_does_more_is_refused(torch, nn, options):
    with pytest.raises(ValueError, match=r"^from_torch: MultiheadAttention with .* has .*, and pancake's Function has .* alone"):
        from_torch(nn.MultiheadAttention(6, 2, batch_first=True, **options))


def test_it_trains_as_torch_does(torch, nn):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3)).double()
    function, x, y = from_torch(module), drawn(4, 20, 4), np.arange(20) % 3
    ours, theirs = pk.SGD(function, lr=0.1), torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(5):
        step(function, ours, x, y)
        theirs.zero_grad()
        nn.CrossEntropyLoss()(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        theirs.step()
    for name, array in module.state_dict().items():
        np.testing.assert_allclose(function.state_dict()[name], array, rtol=1e-11, atol=1e-13)


def step(function, optimizer, x, y):
    loss = pk.CrossEntropy()
    optimizer.zero_grad()
    loss(function(x), y)
    function.accumulate_grads(loss.compute_backward())
    optimizer.step()


def test_parameters_are_copies_and_dtypes_are_kept(torch, nn):
    for dtype, expected in (("float64", "float64"), ("float32", "float32"), ("float16", "float32"), ("bfloat16", "float32")):
        module = nn.Linear(2, 3).to(getattr(torch, dtype))
        function = from_torch(module)
        before = function.state_dict()
        assert before["weight"].dtype == expected
        close(before["weight"], module.weight.detach().double().numpy())
        with torch.no_grad():
            module.weight.fill_(7)
        np.testing.assert_array_equal(function.weight, before["weight"])


def test_modes_and_what_is_frozen_come_along(torch, nn):
    module = nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.LSTM(3, 4, batch_first=True))
    module[1].eval()
    module[0].requires_grad_(False)
    function = from_torch(module)
    assert [part.training for part in function] == [True, False, True]
    assert function.training
    assert [part.frozen for part in function] == [True, False, False]
    back = to_torch(function)
    assert [part.training for part in back] == [True, False, True]
    assert [p.requires_grad for p in back.parameters()] == [False, False, True, True, True, True]
    module[0].bias.requires_grad_(True)
    with pytest.raises(ValueError, match="frozen as a whole"):
        from_torch(module)


def test_one_module_twice_shares_its_parameters(torch, nn):
    linear = nn.Linear(3, 3).double()
    module = nn.Sequential(linear, nn.Tanh(), linear)
    function, x = from_torch(module), drawn(5, 2, 3)
    assert function[0].weight is function[2].weight
    close(function(x), outputs(torch, module, x))
    back = to_torch(function)
    assert back[0].weight is back[2].weight
    close(outputs(torch, back, x), function(x))
    assert from_torch(back)[0].weight.shape == (3, 3)
    embedding, linear = nn.Embedding(3, 3), nn.Linear(3, 3, bias=False)
    linear.weight = embedding.weight
    with pytest.raises(ValueError, match="shares some of its parameters"):
        from_torch(nn.Sequential(embedding, linear))


def test_what_cannot_be_converted_is_refused_by_name_with_the_way_out(torch, nn):
    class Mine(nn.Module):
        def forward(self, x):
            return x

    class Linear(nn.Linear):
        def forward(self, x):
            return -super().forward(x)

    class Residual(nn.Module):
        pass

    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *arguments: None)
    refused = [
        (Mine(), TypeError, r"Mine has a forward of its own.*load_torch\(model, module.state_dict\(\)\)"),
        (Linear(2, 2), TypeError, r"\.Linear with weight \(2, 2\) has a forward of its own"),
        (nn.Sequential(Residual()), TypeError, r"\.Residual at 0 has a forward of its own"),
        (
            nn.Sequential(nn.Tanh(), nn.Bilinear(1, 2, 3)),
            TypeError,
            r"Bilinear at 1 .* has no counterpart in pancake; .*Linear",
        ),
        (hooked, ValueError, "hooks"),
        (nn.Softmax(), ValueError, "dim=None"),
        (nn.Hardtanh(-2, 2), ValueError, "min_val=-2"),
        (nn.LSTM(2, 3, proj_size=1), ValueError, "proj_size=1"),
        (nn.GRU(2, 3, bias=False), ValueError, "bias=False"),
        (nn.BatchNorm1d(2, affine=False), ValueError, "affine=False"),
        (nn.BatchNorm1d(2, momentum=None), ValueError, "momentum=None"),
        (nn.LayerNorm((2, 3)), ValueError, "one axis"),
        (nn.Embedding(3, 2, padding_idx=0), ValueError, "padding_idx=0"),
        (nn.Linear, TypeError, "expected a torch.nn.Module, got <class"),
        ({"weight": 1}, TypeError, "load_torch reads a state dict"),
    ]
    for module, error, message in refused:
        with pytest.raises(error, match=message):
            from_torch(module)


def test_a_refusal_names_the_module_with_its_place_and_its_shape_and_not_all_that_is_in_it(torch, nn):
    def many(module):
        return nn.Sequential(*(nn.Linear(3, 3) for _ in range(50)), module)

    hooked, embedding, linear, half = many(nn.Tanh()), nn.Embedding(3, 3), nn.Linear(3, 3, bias=False), nn.Linear(4, 3)
    hooked.register_forward_hook(lambda *arguments: None)
    linear.weight = embedding.weight
    half.bias.requires_grad_(False)
    attention = nn.MultiheadAttention(6, 2, dropout=0.1)
    refused = [
        (
            many(many(attention)),
            ValueError,
            "MultiheadAttention at 50.50 with in_proj_weight (18, 6) has dropout=0.1",
        ),
        (many(nn.GRU(2, 3, bias=False)), ValueError, "GRU at 50 with weight_ih_l0 (9, 2) has bias=False, and pancake's Function"),
        (hooked, ValueError, "Sequential has hooks or a forward of its own, which pancake would not run"),
        (many(hooked), ValueError, "Sequential at 50 has hooks or a forward of its own"),
        (many(half), ValueError, "Linear at 50 with weight (3, 4) trains some of its parameters and not the others"),
        (
            nn.Sequential(embedding, nn.Sequential(linear)),
            ValueError,
            "Linear at 1.0 with weight (3, 3) shares some of its parameters with Embedding at 0 with weight (3, 3); two",
        ),
        (many(nn.Bilinear(1, 2, 3)), TypeError, "Bilinear at 50 with weight (3, 1, 2) has no counterpart in pancake; what"),
        (many(nn.LayerNorm((2, 3))), ValueError, "LayerNorm at 50 with weight (2, 3) is none of one axis, with weight and bias"),
    ]
    for module, error, message in refused:
        with pytest.raises(error) as caught:
            from_torch(module)
        assert str(caught.value).startswith(f"from_torch: {message}")
        assert "\n" not in str(caught.value)
        assert str(caught.value).count("Linear(") == 0


# --- to torch ---


def convertible(function):
    cells = (pk.RNNCell, pk.LSTMCell, pk.GRUCell)
    if any(isinstance(f, pk.RNNCell) and f.activation == "sigmoid" for f in function.walk()):
        return False
    if any(isinstance(f, pk.Bidirectional) and repr(f.forward.cell) != repr(f.backward.cell) for f in function.walk()):
        return False
    return all(type(f) in TABLE or isinstance(f, cells) for f in function.walk())


@given(stacks(INPUTS))
def test_stacks_go_there_and_come_back(torch, pair):
    model, x = pair
    model.eval()
    if not any(isinstance(part, pk.Embedding) for part in model.walk()):
        x = np.asarray(x, np.float64)
    before, y = model.state_dict(), model(x)
    if not convertible(model):
        with pytest.raises((TypeError, ValueError), match="to_torch: "):
            to_torch(model)
        return
    module = to_torch(model)
    close(outputs(torch, module, x), y, 1e-11)
    close(from_torch(module)(x), y, 1e-11)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("cell", [pk.RNNCell, pk.LSTMCell, pk.GRUCell])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_recurrent_parts(torch, cell, return_sequences):
    x = drawn(6, 2, 5, 3)
    for model in (
        pk.Unrolled(cell(3, 4, rng=0), return_sequences),
        pk.Unrolled(cell(3, 4, rng=0), return_sequences, reverse=True),
        pk.Bidirectional(cell(3, 4, rng=0), cell(3, 4, rng=1), return_sequences),
    ):
        module = to_torch(model)
        close(outputs(torch, module, x), model(x))
        close(from_torch(module)(x), model(x))
        assert repr(from_torch(module)) == repr(model)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_scaling_goes_there_and_back_and_is_trained_nowhere(torch, dtype, rtol):
    data = drawn(9, 30, 4) * [1, 1e-3, 1e4, 0] + [0, 5, -1e4, 3]
    scaling = pk.Standardize.of(data, dtype=dtype)
    stack = pk.Sequential(
        [scaling, pk.Sequential([pk.Linear(4, 3, rng=0, dtype=dtype), pk.Standardize(3, scale=[1, 2, 3], dtype=dtype)])]
    )
    for model in (scaling, stack):
        for x in (data.astype(dtype), data.reshape(5, 2, 3, 4).astype(dtype), data[0].astype(dtype)):
            module = to_torch(model)
            there, back = outputs(torch, module, x), from_torch(module)
            assert there.dtype == back(x).dtype == dtype
            close(there, model(x), rtol)
            close(back(x), model(x), rtol)
            assert repr(back) == repr(model)
    assert not list(to_torch(scaling).parameters())
    assert [name for name, _ in module.named_parameters()] == ["1.0.weight", "1.0.bias"]
    assert list(module.state_dict()) == list(model.state_dict())
    optimizer = torch.optim.SGD(module.requires_grad_(True).parameters(), lr=0.1, weight_decay=0.1)
    module(torch.from_numpy(x)).sum().backward()
    optimizer.step()
    back = from_torch(module)
    np.testing.assert_array_equal(back[0].mean, scaling.mean)
    np.testing.assert_array_equal(back[0].scale, scaling.scale)
    assert [p.shape for p in back.get_params_and_grads()[0]] == [(3, 4), (3,)]
    with pytest.raises(ValueError, match=r"has the dtype .*, which torch has not; astype"):
        to_torch(pk.Standardize(2, dtype=np.longdouble))
    assert from_torch(to_torch(scaling).half()).mean.dtype == np.float32


def test_every_function_is_converted_or_refused_by_name(torch):
    for cls in library_classes(pk.Function):
        if cls not in TABLE:
            ((function, _),) = examples(functions(cls), 1)
            with pytest.raises(TypeError, match=rf"to_torch: {cls.__name__}.* has no counterpart in torch"):
                to_torch(function)


def test_a_refusal_does_not_print_all_numbers_of_what_it_refuses(torch):
    class Mine(pk.Standardize):
        pass

    for function in (Mine.of(drawn(0, 9, 20)), pk.Standardize.of(drawn(0, 9, 20), dtype=np.longdouble)):
        with pytest.raises((TypeError, ValueError), match=r"to_torch: (Mine|Standardize)\(") as refused:
            to_torch(pk.Sequential([function]))
        assert str(refused.value).count("0.") < 10


def test_other_dtypes_and_other_things(torch):
    assert next(to_torch(pk.Linear(2, 3, dtype=np.float32)).parameters()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"astype\(np.float64\) first"):
        to_torch(pk.Linear(2, 3, dtype=np.longdouble))
    with pytest.raises(TypeError, match="expected a Function, got 3"):
        to_torch(3)
    with pytest.raises(ValueError, match="torch has not"):
        to_torch(pk.Unrolled(pk.RNNCell(2, 3, "sigmoid")))
    with pytest.raises(ValueError, match="two kinds of cells"):
        to_torch(pk.Bidirectional(pk.GRUCell(2, 3), pk.LSTMCell(2, 3)))
    with pytest.raises(TypeError, match=r"Square\(\) has no counterpart"):
        to_torch(pk.Sequential([pk.Linear(2, 3), pk.Square()]))


# --- state dicts and files ---


def lstm_state(layers, bidirectional, seed=7, n_in=3, n_hidden=2):
    """A state dict as torch.nn.LSTM has it."""
    state = {}
    for layer in range(layers):
        width = n_in if layer == 0 else n_hidden * (2 if bidirectional else 1)
        for suffix in ("", "_reverse")[: 2 if bidirectional else 1]:
            for name, shape in (("weight_ih", (8, width)), ("weight_hh", (8, n_hidden)), ("bias_ih", (8,)), ("bias_hh", (8,))):
                state[f"{name}_l{layer}{suffix}"] = drawn(seed + len(state), *shape)
    return state


def test_names_of_recurrent_layers_are_understood_without_torch():
    state = {f"encoder.lstm.{name}": array for name, array in lstm_state(2, True).items()}
    state |= {"module.head.weight": drawn(1, 1, 4), "module.head.bias": drawn(2, 1)}

    def bi(n_in):
        return pk.Bidirectional(pk.LSTMCell(n_in, 2), pk.LSTMCell(n_in, 2))

    flat = pk.Sequential([bi(3), bi(4), pk.Linear(4, 1)])
    nested = pk.Sequential([pk.Sequential([bi(3), pk.Dropout(0.1), bi(4)]), pk.Linear(4, 1)])
    load_torch(flat, state, {"encoder.lstm": "0", "module": "", "module.head": "2"})
    load_torch(nested, state, {"encoder.lstm": "0", "module.head": "1"})
    for model, paths in ((flat, ("0", "1")), (nested, ("0.0", "0.2"))):
        parts = dict(named_parts(model))
        for layer, path in enumerate(paths):
            for direction, suffix in (("forward", ""), ("backward", "_reverse")):
                cell = getattr(parts[path], direction).cell
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    np.testing.assert_array_equal(getattr(cell, name), state[f"encoder.lstm.{name}_l{layer}{suffix}"])
    alone, both = pk.Unrolled(pk.LSTMCell(3, 2)), bi(3)
    load_torch(alone, lstm_state(1, False))
    load_torch(both, lstm_state(1, True))
    np.testing.assert_array_equal(alone.cell.weight_ih, lstm_state(1, False)["weight_ih_l0"])
    np.testing.assert_array_equal(both.backward.cell.bias_hh, lstm_state(1, True)["bias_hh_l0_reverse"])
    with pytest.raises(ValueError, match="left over weight_ih_l1 "):
        load_torch(both, lstm_state(2, True))


def test_the_whole_way_from_a_module_of_ones_own(torch, nn):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(9, 3), nn.LSTM(3, 2, 2, bidirectional=True, batch_first=True)
            self.fc1 = nn.Linear(4, 5)

        def forward(self, x):
            return self.fc1(self.lstm(self.embedding(x))[0])

    torch.manual_seed(3)
    theirs, x = Tagger().double(), np.random.default_rng(0).integers(0, 9, (4, 6))
    layers = [pk.Bidirectional(pk.LSTMCell(n, 2), pk.LSTMCell(n, 2)) for n in (3, 4)]
    ours = pk.Sequential([pk.Embedding(9, 3), *layers, pk.Linear(4, 5)])
    load_torch(ours, theirs.state_dict(), {"embedding": "0", "lstm": "1", "fc1": "3"})
    close(ours(x), outputs(torch, theirs, x))


def test_names_may_be_renamed_by_prefix_whole_or_by_a_function():
    arrays = {"0.weight": drawn(1, 3, 2), "0.bias": drawn(2, 3), "2.weight": drawn(3, 1, 3), "2.bias": drawn(4, 1)}
    spelled = {
        "prefixes": (
            {k.replace("0.", "net.fc1.").replace("2.", "net.fc2."): v for k, v in arrays.items()},
            {"net.fc1": "0", "net.fc2": "2"},
        ),
        "function": ({"module." + k: v for k, v in arrays.items()}, lambda name: name.removeprefix("module.")),
        "every name": (
            {"Wb"[k.endswith("bias")] + k[0]: v for k, v in arrays.items()},
            lambda k: f"{k[1]}.{'bias' if k[0] == 'b' else 'weight'}",
        ),
        "before all": (
            {k[2:]: v for k, v in arrays.items() if k[0] == "0"} | {k: v for k, v in arrays.items() if k[0] == "2"},
            {"": "0", "2": "2"},
        ),
        "no prefix": ({"module." + k: v for k, v in arrays.items()}, {"module": ""}),
        "whole": ({**{k: v for k, v in arrays.items() if k != "0.bias"}, "b": arrays["0.bias"]}, {"b": "0.bias"}),
        "left out": ({**arrays, "head.weight": drawn(9, 7)}, {"head": None}),
        "also left out": ({**arrays, "head.weight": drawn(9, 7)}, lambda name: None if name.startswith("head") else name),
    }
    for state, rename in spelled.values():
        model = pk.mlp([2, 3, 1], rng=0)
        weight = model[0].weight
        load_torch(model, state, rename)
        assert model[0].weight is weight
        for name, array in arrays.items():
            np.testing.assert_array_equal(model.state_dict()[name], array)


def test_what_does_not_fit_is_listed_with_candidates_and_nothing_changes():
    model = pk.mlp([2, 3, 3], rng=0)
    before = model.state_dict()
    state = {"fc1.weight": drawn(1, 3, 2), "fc1.bias": drawn(2, 3), "fc2.weight": drawn(3, 3, 3), "fc2.bias": drawn(4, 3)}
    with pytest.raises(ValueError, match="changed nothing") as caught:
        load_torch(model, state)
    message = str(caught.value)
    assert "left over fc1.weight (3, 2), which has the shape of 0.weight\n" in message
    assert "left over fc2.bias (3,), which has the shape of 2.bias or 0.bias" in message
    assert "missing 2.weight (3, 3)" in message
    assert message.endswith("rename={'fc1': '0', 'fc2': '2'}")
    load_torch(pk.mlp([2, 3, 3]), state, rename=eval(message.rpartition("rename=")[2]))
    faults = [
        ({**before, "2.bias": drawn(1, 4)}, None, r"2.bias has shape \(4,\), expected \(3,\)"),
        (state, {"fc1": "0", "fc2": "0"}, "fc1.weight and fc2.weight would both become 0.weight"),
        ({k: v for k, v in before.items() if k != "0.bias"}, None, r"missing 0.bias \(3,\)"),
        ({**before, "0.bias": np.array([1j, 0, 0])}, None, "0.bias to be a tensor or an array of real numbers"),
        ({"state_dict": before, "epoch": 3}, None, r"a dict under 'state_dict'; .*pass state\['state_dict'\]"),
        ([1, 2], None, "expected a dict of tensors or arrays, or a path, got list"),
        ("weights.pt", None, r"torch.load\(path"),
        (before, 3, "expected rename to be a dict or a function"),
    ]
    for arrays, rename, message in faults:
        with pytest.raises((TypeError, ValueError), match=message):
            load_torch(model, arrays, rename)
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
    with pytest.raises(TypeError, match="expected a Function as first"):
        load_torch(state, model)


def test_a_wrong_kind_of_state_says_what_to_pass(torch, nn):
    with pytest.raises(TypeError, match=r"pass module.state_dict\(\)"):
        load_torch(pk.Linear(2, 3), nn.Linear(2, 3))


def safetensors(path, tensors):
    """Write a file by the format alone: code, shape and bytes of each tensor."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (code, shape, content) in tensors.items():
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_safetensors_of_all_floats_are_read_without_torch(tmp_path):
    weight = np.array([[1.5, -2.0, 0.15625]])
    upper_halves = (weight.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    spelled = {"BF16": upper_halves, "F16": weight.astype("<f2").tobytes(), "F32": weight.astype("<f4").tobytes()}
    for code, content in spelled.items():
        path = safetensors(tmp_path / "a.safetensors", {"fc.weight": (code, [1, 3], content), "fc.bias": ("F64", [1], bytes(8))})
        model = pk.Linear(3, 1)
        load_torch(model, path, {"fc": ""})
        np.testing.assert_array_equal(model.weight, weight)
        assert model.weight.dtype == np.float64
    path = safetensors(tmp_path / "b.safetensors", {"weight": ("F8_E4M3", [1, 3], bytes(3)), "bias": ("F64", [1], bytes(8))})
    with pytest.raises(ValueError, match="by the dtype 'F8_E4M3', and only F64"):
        load_torch(model, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cannot be read"):
        load_torch(model, str(path))


def test_bfloat16_and_float16_tensors_are_read(torch, nn):
    for dtype in (torch.bfloat16, torch.float16):
        module, model = nn.Linear(3, 2).to(dtype), pk.Linear(3, 2)
        load_torch(model, module.state_dict())
        np.testing.assert_array_equal(model.weight, module.weight.detach().double().numpy())


def test_load_says_what_to_do_with_files_of_torch(tmp_path):
    path = safetensors(tmp_path / "a.safetensors", {"weight": ("F64", [1], bytes(8))})
    with pytest.raises(ValueError, match=r"pancake.torch.load_torch\(model, path\)"):
        pk.load(path)
    with pytest.raises(ValueError, match=r"pancake.torch.load_torch\(model, torch.load\(path, weights_only=True\)\)"):
        pk.load(tmp_path / "model.pt")


def test_importing_and_reading_loads_no_torch(tmp_path):
    path = safetensors(tmp_path / "a.safetensors", {"weight": ("F32", [1, 1], bytes(4)), "bias": ("F32", [1], bytes(4))})
    code = (
        "import sys, pancake as pk, pancake.torch\n"
        f"pancake.torch.load_torch(pk.Linear(1, 1), {str(path)!r})\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_what_works_on_channels_behind_a_convolution(torch, dimensions):
    nn = torch.nn
    torch.manual_seed(0)
    convolution = (nn.Conv1d, nn.Conv2d)[dimensions - 1](2, 5, 3, padding=1)
    norm = [nn.BatchNorm1d(5)] if dimensions == 1 else []
    parts = [convolution, nn.Sequential(*norm, nn.PReLU(5)), nn.PReLU(), nn.Flatten(), nn.Linear(5 ** (1 + dimensions), 6)]
    module = nn.Sequential(*parts, nn.BatchNorm1d(6), nn.PReLU(6)).double()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.PReLU):
                part.weight.uniform_(0.1, 0.9)
    x = torch.randn((4, 2, *(5,) * dimensions)).double()
    module(x)
    module.eval()
    np.testing.assert_allclose(pk.predict(from_torch(module), x.numpy()), module(x).detach().numpy(), rtol=1e-10, atol=1e-12)


# Modules in the order in which they stand, and whether anything tells how many axes there are where channels are 3.
CHANNELS = {
    "convolution before it": (lambda nn: [nn.Conv1d(3, 3, 1), nn.PReLU(3)], True),
    "convolution behind it": (lambda nn: [nn.PReLU(3), nn.Conv1d(3, 3, 1)], True),
    "behind a norm": (lambda nn: [nn.BatchNorm1d(3), nn.Conv1d(3, 3, 1)], True),
    "pooling behind an activation": (lambda nn: [nn.PReLU(3), nn.Tanh(), nn.AvgPool1d(1)], True),
    "a line between": (lambda nn: [nn.Conv1d(3, 3, 1), nn.Linear(3, 3), nn.PReLU(3)], True),
    "a line before a convolution": (lambda nn: [nn.PReLU(3), nn.Linear(3, 3), nn.Conv1d(3, 3, 1)], True),
    "a norm of groups between": (lambda nn: [nn.GroupNorm(1, 3), nn.BatchNorm1d(3), nn.MaxPool1d(1)], True),
    "nested": (lambda nn: [nn.Sequential(nn.Sequential(nn.PReLU(3)), nn.ReLU()), nn.Sequential(nn.Conv1d(3, 3, 1))], True),
    "an Upsample alone": (lambda nn: [nn.Upsample(scale_factor=1), nn.PReLU(3)], False),
    "a norm of groups alone": (lambda nn: [nn.GroupNorm(1, 3), nn.PReLU(3)], False),
    "a line alone": (lambda nn: [nn.Linear(3, 3), nn.BatchNorm1d(3)], False),
    "PReLU alone": (lambda nn: [nn.PReLU(3)], False),
    "BatchNorm1d alone": (lambda nn: [nn.BatchNorm1d(3)], False),
    "before a Flatten": (lambda nn: [nn.PReLU(3), nn.Flatten(), nn.PReLU(9)], False),
}


def unlike(torch, module):
    """The module in float64 and in evaluation, no two of whose channels are treated alike."""
    for parameter in module.double().parameters():
        torch.nn.init.uniform_(parameter, 0.1, 0.9)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    return module.eval()


@pytest.mark.parametrize("kind", CHANNELS)
def test_channels_are_never_taken_for_what_is_on_the_last_axis(torch, nn, kind):
    parts, told = CHANNELS[kind]
    torch.manual_seed(0)
    module = unlike(torch, nn.Sequential(*parts(nn)))
    function, x = from_torch(module), drawn(1, 4, 3, 3)
    if told:
        close(function(x), outputs(torch, module, x))
        return
    with pytest.raises(
        ValueError, match=r"max_ndim=2.*: expected at most 2 axes, got \(4, 3, 3\); torch has features on the sec"
    ):
        function(x)
    if "Upsample" not in kind and "Flatten" not in kind:
        close(function(x[0]), outputs(torch, module, x[0]))


@pytest.mark.parametrize("kind", [kind for kind, (_, told) in CHANNELS.items() if not told])
def test_what_may_take_no_further_axes_goes_back_to_torch_as_it_came(torch, nn, kind):
    """There it has its features on the second axis of any number of axes again."""
    torch.manual_seed(0)
    module, x = unlike(torch, nn.Sequential(*CHANNELS[kind][0](nn))), drawn(1, 4, 3, 3)
    close(outputs(torch, to_torch(from_torch(module)), x), outputs(torch, module, x))


@given(data())
def test_any_order_of_modules_is_right_or_refused(torch, data):
    nn = torch.nn
    kinds = {
        "PReLU": lambda: nn.PReLU(3),
        "BatchNorm1d": lambda: nn.BatchNorm1d(3),
        "Linear": lambda: nn.Linear(3, 3),
        "Tanh": nn.Tanh,
        "GroupNorm": lambda: nn.GroupNorm(1, 3),
        "Upsample": lambda: nn.Upsample(scale_factor=1),
        "LayerNorm": lambda: nn.LayerNorm(3),
        "Conv1d": lambda: nn.Conv1d(3, 3, 1),
        "MaxPool1d": lambda: nn.MaxPool1d(1),
    }
    names = data.draw(lists(sampled_from(sorted(kinds)), min_size=1, max_size=5))
    cut = data.draw(integers(0, len(names)))
    parts = [kinds[name]() for name in names]
    module = unlike(torch, nn.Sequential(nn.Sequential(*parts[:cut]), *parts[cut:]))
    if data.draw(booleans()):
        module.append(module[0])  # the same once more, perhaps at another place
    function, x = from_torch(module), drawn(2, 2, 3, 3)
    try:
        y = function(x)
    except ValueError as error:
        assert "at most 2 axes" in str(error)  # noqa: PT017
        assert not {"Conv1d", "MaxPool1d"} & set(names)
        return
    close(y, outputs(torch, module, x), 1e-10)


def test_features_on_the_last_axis_come_back_as_such(torch):
    """What `to_torch` makes of a PReLU is not torch's own, and has its features on the last axis behind a convolution too."""
    model = pk.Sequential([pk.Conv1d(3, 3, 1, rng=0), pk.PReLU(3), pk.BatchNorm(3)]).eval()
    model[1].weight[...] = 0.1, 0.5, 0.9
    x = drawn(3, 2, 3, 3)
    close(from_torch(to_torch(model))(x), model(x))


def test_how_many_axes_is_kept_by_files_and_copies(torch, nn, tmp_path):
    function = from_torch(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.PReLU(3)).double().eval())
    pk.save(tmp_path / "model.npz", function)
    for model in (function.shared_copy(), pk.load(tmp_path / "model.npz")):
        close(model(drawn(1, 5, 4)), function(drawn(1, 5, 4)))
        with pytest.raises(ValueError, match="at most 2 axes"):
            model(drawn(1, 5, 3, 4))
