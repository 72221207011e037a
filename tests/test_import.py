"""What `import pancake` loads, and that every public name says what it is."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import pancake
from pancake import Function
from pancake.losses.loss import Loss
from pancake.optimizers.optimizer import Optimizer

EXTRAS = {"matplotlib", "hypothesis", "tqdm", "torch", "scipy", "sklearn", "pandas", "onnx", "safetensors"}


def modules_after(code):
    """The modules that a fresh interpreter has loaded after the code, those of its start not counted."""
    report = "print(*sorted(set(sys.modules) - before))"
    program = f"import sys; before = set(sys.modules)\n{code}\n{report}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def packages_after(code):
    """The top-level packages of these."""
    return {name.partition(".")[0] for name in modules_after(code)}


@pytest.mark.parametrize(
    "code",
    [
        "import pancake",
        "from pancake import *",
        "import pancake; pancake.Linear, pancake.initializers, pancake.datasets, dir(pancake)",
        "import pancake; m = pancake.mlp([2, 3, 1]); pancake.SGD(m).step(); pancake.predict(m, [[1, 2]])",
    ],
)
def test_importing_and_using_loads_numpy_alone(code):
    loaded = packages_after(code)
    assert "numpy" in loaded
    assert not loaded & EXTRAS
    others = {name for name in loaded if name not in sys.stdlib_module_names and "cython" not in name}  # parts of numpy.random
    assert others <= {"numpy", "pancake"}


def test_a_short_training_does_not_load_for_longer_than_it_lasts():
    net = "import numpy as np, pancake as pk; m = pk.mlp([2, 3, 1]); o = pk.SGD(m); x, y = np.ones((20, 2)), np.ones((20, 1))"
    code = f"{net}; pk.fit(m, pk.MeanSquaredError(), o, x, y, epochs=1, progress=False); pk.predict(m, x)"
    assert not modules_after(code) & {"numpy.ma", "numpy.typing", "pathlib", "tempfile", "zipfile", "pancake.recurrent.cells"}


def test_numpy_is_loaded_before_all_else():
    """From the first line of the package: how long it takes depends on how many calls are open."""
    done = subprocess.run([sys.executable, "-c", "import sys, pancake; print(*sys.modules)"], capture_output=True, text=True)
    names = done.stdout.split()  # in the order in which they were through
    assert names.index("numpy") < min(place for place, name in enumerate(names) if name.startswith("pancake."))


def test_the_extras_would_be_noticed():
    assert "hypothesis" in packages_after("import hypothesis")


def test_importing_moves_no_global_generator():
    code = "import numpy as np; np.random.seed(3); a = np.random.get_state()[1].copy(); import pancake; from pancake import *"
    packages_after(code + "\nassert (np.random.get_state()[1] == a).all() and np.random.get_state()[2] == 624")


def public():
    return [(name, getattr(pancake, name)) for name in pancake.__all__ if name != "__version__"]


def test_all_is_complete_and_sorted_out():
    assert len(set(pancake.__all__)) == len(pancake.__all__)
    assert dir(pancake) == sorted(pancake.__all__)
    loose = [name for name in vars(pancake) if not name.startswith("_") and name not in pancake.__all__]
    modules = [name for name in loose if inspect.ismodule(getattr(pancake, name))]
    assert set(loose) - set(modules) <= {"Any", "TYPE_CHECKING"}


def test_export_and_torch_are_there_without_an_import_of_their_own():
    code = "import pancake; pancake.export.to_js, pancake.torch.from_torch"
    assert not packages_after(code) & EXTRAS
    namespace = {}
    exec("from pancake import *", namespace)
    assert "torch" not in namespace


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'pancake' has no attribute 'Liner'"):
        pancake.Liner  # noqa: B018


def test_every_public_name_has_a_docstring():
    missing = [name for name, thing in public() if not (inspect.getdoc(thing) or "").strip()]
    assert not missing


def test_every_public_method_has_a_docstring():
    missing = [
        f"{name}.{method}"
        for name, cls in public()
        if inspect.isclass(cls)
        for method, function in inspect.getmembers(cls)
        if not method.startswith("_")
        and (inspect.isfunction(function) or isinstance(function, property))
        and not inspect.getdoc(function)
    ]
    assert not missing


def test_every_public_class_names_its_source():
    """A paper, a page or the rule of calculus; the classes that define the contract itself need none."""
    classes = [cls for _, cls in public() if inspect.isclass(cls) and issubclass(cls, (Function, Loss, Optimizer))]
    assert len(classes) > 15
    without = [
        cls.__name__
        for cls in classes
        if cls not in (Function, Loss) and not ("References\n" in inspect.getdoc(cls) or "Source: " in inspect.getdoc(cls))
    ]
    assert not without
