"""Every demo, found by its file: it runs, writes a picture, explains itself, and stops when told to."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

DEMOS = sorted((Path(__file__).parent.parent / "demos").glob("*.py"))
DRAWING = [path for path in DEMOS if "savefig" in path.read_text(encoding="utf-8")]
every_demo = pytest.mark.parametrize("path", DRAWING, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _no_windows() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.use("Agg")
        yield
    plt.close("all")


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"demo_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(getattr(module, "main", None)), f"{path.name} has no main(...)"
    return module


def run(path: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "error", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


def colours_in(picture: Path) -> int:
    """How many colours a PNG has, after making sure that it is one and large enough to show."""
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = plt.imread(picture)
    assert min(pixels.shape[:2]) >= 300
    red, green, blue = (pixels[::4, ::4, :3] * 255).astype(int).reshape(-1, 3).T
    return len(np.unique(red << 16 | green << 8 | blue))


def test_there_are_demos() -> None:
    assert {path.stem for path in DRAWING} >= {"perceptron", "xor", "boundaries", "penguins", "architectures"}
    assert {path.stem for path in DEMOS} - {path.stem for path in DRAWING} == {"check_your_layer"}  # has its own tests below


@every_demo
def test_runs_for_one_epoch(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "new folder" / "picture.png"
    load(path).main(epochs=1, output=picture)
    printed = capsys.readouterr().out
    assert str(picture) in printed.splitlines()[-1]
    assert len(printed.splitlines()) > 1, "no progress is printed"
    assert colours_in(picture) > 100  # shaded regions, not a blank page
    assert not plt.get_fignums()


@every_demo
def test_help_explains_every_option(path: Path) -> None:
    result = run(path, "--help")
    assert result.returncode == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert load(path).__doc__.split("\n")[0] in text
    for option in ("--epochs", "--seed", "--output", "--show"):
        assert option in text


@every_demo
def test_bad_arguments_get_one_clear_line(path: Path) -> None:
    for arguments, message in ((["--epochs", "0"], "at least 1"), (["--epochs", "many"], "invalid int value: 'many'")):
        result = run(path, *arguments)
        assert result.returncode == 2
        assert not result.stdout
        assert message in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr


@every_demo
def test_runs_as_a_script_from_anywhere(path: Path, tmp_path: Path) -> None:
    result = run(path, "--epochs", "1", "--output", "here.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert colours_in(tmp_path / "here.png") > 100


@every_demo
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_is_clean(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-u", str(path), "--output", str(tmp_path / "late.png")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
        # tests that run in the background are started with the signal ignored, which children inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # its work has begun
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.split() == ["stopped"]
    assert not (tmp_path / "late.png").exists()


def test_a_demo_without_main_fails(tmp_path: Path) -> None:
    path = tmp_path / "mainless.py"
    path.write_text("x = 1\n")
    with pytest.raises(AssertionError, match=r"mainless.py has no main"):
        load(path)


@pytest.fixture(scope="module")
def penguins() -> Any:
    return load(next(path for path in DEMOS if path.stem == "penguins"))


def test_the_penguins_are_those_of_the_paper(penguins: Any) -> None:
    X, y, names = penguins.load_penguins()
    assert X.shape == (342, 4)
    assert list(names) == ["Adelie", "Chinstrap", "Gentoo"]
    np.testing.assert_array_equal(np.bincount(y), [151, 68, 123])
    np.testing.assert_allclose(X.mean(axis=0), [43.92193, 17.15117, 200.91520, 4201.75439], rtol=1e-6)


def test_the_split_keeps_the_shares_of_the_species(penguins: Any) -> None:
    y = np.repeat([0, 1, 2], [151, 68, 123])
    train, test = penguins.stratified_split(y, 1 / 3, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(342))
    np.testing.assert_array_equal(np.bincount(y[test]), [50, 23, 41])


def test_penguins_are_told_apart(penguins: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    penguins.main(output=tmp_path / "penguins.png")
    lines = capsys.readouterr().out.splitlines()
    last = next(line for line in lines if "epoch  300" in line)  # of the net that sees all four measurements
    assert float(last.split("test ")[1].rstrip("%")) > 97
    head = next(i for i, line in enumerate(lines) if line.split() == ["Adelie", "Chinstrap", "Gentoo"])
    table = np.array([[int(count) for count in line.split()[1:]] for line in lines[head + 1 : head + 4]])
    np.testing.assert_array_equal(table.sum(axis=1), [50, 23, 41])
    assert f"{table.trace() / table.sum():.1%}" == last.split("test ")[1]


def test_boundaries_offers_what_pancake_exports(tmp_path: Path) -> None:
    boundaries = load(next(path for path in DEMOS if path.stem == "boundaries"))
    choices = [boundaries.DATASETS, boundaries.ACTIVATIONS, boundaries.OPTIMIZERS]
    assert set(choices[0]) >= {"xor", "moons", "circles", "spirals", "blobs", "checkerboard"}
    assert set(choices[1]) >= {"Sigmoid", "Tanh", "ReLU"}
    assert set(choices[2]) >= {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad"}
    for i in range(max(map(len, choices))):  # each of them at least once
        dataset, activation, optimizer = (list(names)[i % len(names)] for names in choices)
        picture = tmp_path / f"{i}.png"
        boundaries.main(dataset, n=60, hidden=[4], activation=activation, optimizer=optimizer, epochs=2, output=picture)
        assert colours_in(picture) > 100


CHECK_YOUR_LAYER = next(path for path in DEMOS if path.stem == "check_your_layer")


def test_check_your_layer_finds_the_fault_and_accepts_the_repair(tmp_path: Path) -> None:
    result = run(CHECK_YOUR_LAYER, "--batch", "4", "--seed", "2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert any("Direction.x[" in line and "w right" in line for line in lines)
    assert lines[-1] == "found the fault: True, the repaired layer is right: True"


def test_check_your_layer_explains_itself() -> None:
    assert "--features" in run(CHECK_YOUR_LAYER, "--help").stdout
    result = run(CHECK_YOUR_LAYER, "--features", "1")
    assert result.returncode == 2
    assert "at least 2 features" in result.stderr.splitlines()[-1]
