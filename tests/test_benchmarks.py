"""The benchmarks: every library computes what the loop computes, and the commands print, write and draw what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PEERS = {"with_torch": "torch", "with_torch_fused": "torch", "with_jax": "jax", "with_sklearn": "sklearn"}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports a file of the benchmarks by its name, as they import one another."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


# The sizes of W6, W7 and W8 cut down, so that they are cheap; W1 to W5 and W9 as they are.
SMALLER: dict[str, dict[str, Any]] = {
    "W6": {"sizes": (32, 64, 64, 10), "batch": 16},
    "W7": {"sizes": (12, 8, 8, 12), "batch": 4, "length": 6},
    "W8": {"sizes": (12, 8, 16, 12), "batch": 4, "length": 6},
}


def workload(modules: Any, name: str) -> Any:
    return modules("workloads").WORKLOADS[name]._replace(**SMALLER.get(name, {}))


NAMES = ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9 grid", "W9 point"]


def test_all_workloads_are_tested(modules: Any) -> None:
    assert list(modules("workloads").WORKLOADS) == NAMES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_pancake_computes_what_the_loop_computes(modules: Any, name: str, dtype: str) -> None:
    w = workload(modules, name)._replace(dtype=dtype)
    expected = modules("loop").build(w).results(5)
    assert np.ptp(expected) > 1e-4 or name == "W9 point"  # it learns, or tells points apart
    for library in ("with_pancake", "with_train_step") if w.kind != "predict" else ("with_pancake",):
        results = modules(library).build(w).results(5)
        np.testing.assert_allclose(results, expected, rtol=1e-12 if dtype == "float64" else 2e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "mlp", "sizes": (20, 50, 3), "batch": 16},
        {"kind": "mlp", "sizes": (5, 3), "batch": 6},  # no hidden layer
        {"kind": "mlp", "sizes": (5, 4, 4, 4, 4, 1), "batch": 3, "activation": "tanh", "optimizer": "sgd"},
        {"kind": "mlp", "sizes": (300, 200, 2), "batch": 20},  # more parameters than the loop works off in one piece
        {"kind": "rnn", "sizes": (300, 5, 4, 3), "batch": 2, "length": 1},  # more words than the loop has a table for
        {"kind": "lstm", "sizes": (7, 5, 4, 3), "batch": 1, "length": 9},
        {"kind": "predict", "sizes": (3, 4, 2), "batch": 1100, "activation": "relu"},
    ],
    ids=str,
)
def test_other_sizes(modules: Any, change: dict[str, Any]) -> None:
    w = modules("workloads").Workload(name="own", **{"dtype": "float64", **change})
    results = modules("with_pancake").build(w).results(4)
    np.testing.assert_allclose(results, modules("loop").build(w).results(4), rtol=1e-12)


@pytest.mark.usefixtures("generator_put_back")
@pytest.mark.parametrize("peer", PEERS)
def test_peers_compute_what_the_loop_computes(modules: Any, peer: str) -> None:
    if importlib.util.find_spec(PEERS[peer]) is None:
        pytest.skip(f"{PEERS[peer]} is not installed")
    for name in ("W1", "W2", "W7", "W8", "W9 point"):
        w = workload(modules, name)._replace(dtype="float64")
        expected = modules("loop").build(w).results(5)
        try:
            results = modules(peer).build(w).results(5)
        except NotImplementedError:
            assert (peer, name) in {(p, n) for p, n in MISSING}
            continue
        own_adam = peer == "with_sklearn" and w.optimizer == "adam"  # which adds epsilon before it corrects the bias
        np.testing.assert_allclose(results, expected, rtol=1e-4 if own_adam else 1e-9)


MISSING = [("with_sklearn", "W7"), ("with_sklearn", "W8"), ("with_torch_fused", "W9 point")]


@pytest.mark.parametrize("name", ["W1", "W2", "W9 point"])
@pytest.mark.parametrize("library", ["loop", "with_pancake"])
def test_a_reset_goes_back_to_the_start(modules: Any, library: str, name: str) -> None:
    training = modules(library).build(workload(modules, name))
    first = training.results(3)
    training.run(4)
    assert training.results(3) == first


def test_the_command(modules: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The smallest workload goes through it: processes, table, page, results, picture."""
    run = modules("run")
    monkeypatch.setattr(run, "BATCH_SECONDS", 1e-4)
    monkeypatch.setitem(run.LIBRARIES, "torch", ("with_a_library_that_is_missing", "no-such-distribution"))
    page, kept = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text(f"before\n{run.START}\nold\n{run.END}\nafter\n", encoding="utf-8")
    command = ["--workloads", "W1", "--rounds", "2", "--peers", "torch", "--json", str(kept), "--page", str(page)]
    run.main(command)
    printed = capsys.readouterr()
    assert "W1: torch skipped" in printed.err
    head, _, row, _, *caption = printed.out.splitlines()
    assert [c.strip() for c in head.split("|")] == ["", "", "workload", "pancake", "pancake, TrainStep", ""]
    assert row.startswith("| W1 | relu 2-10-10-1, batch 4, SGD, float64 | ")
    assert "one thread" in caption[0]
    assert f"numpy {np.__version__}" in caption[1]
    assert "python benchmarks/run.py --workloads W1" in caption[2]

    (entry,) = json.loads(kept.read_text(encoding="utf-8"))["rows"]
    figures = entry["libraries"]["pancake"]
    assert 0 < figures["lower"] <= figures["ratio"] <= figures["upper"]
    assert figures["apart"] < 1e-12
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{run.START}\n\n| ")
    assert text.endswith(f"\n\n{run.END}\nafter\n")
    assert printed.out.strip() in text
    assert "old" not in text

    picture = tmp_path / "new folder" / "ratios.png"
    modules("draw").main(kept, output=picture)
    assert plt.imread(picture).shape[1] > 500
    assert not plt.get_fignums()


def test_ratios_are_taken_to_the_loop_before_and_after(modules: Any) -> None:
    loop, library = iter([1.0, 3.0, 5.0]), iter([4.0, 2.0])
    assert modules("run").alternate(lambda: next(loop), lambda: next(library), 2) == [2.0, 0.5]


def test_timed_processes_get_one_thread_and_no_choice_of_kernels(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    variables = modules("run").environment(threads=1)
    assert "OPENBLAS_CORETYPE" not in variables
    assert [variables[f"{name}_NUM_THREADS"] for name in ("OPENBLAS", "OMP", "MKL")] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--mlp", "20"], "expected numbers of units such as 2-10-10-1, got '20'"),
        (["--mlp", "20-x"], "expected numbers of units"),
        (["--mlp", "20-0-3"], "expected numbers of units"),
        (["--rnn", "20-3"], "--rnn: expected words, features, hidden units"),
        (["--batch", "0"], "expected a whole number of at least 1, got '0'"),
        (["--workloads", "W11"], "invalid choice: 'W11'"),
        (["--page", "nowhere.md"], "there is no nowhere.md"),
    ],
)
def test_wrong_arguments(modules: Any, command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        modules("run").main(command)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_own_sizes_take_the_place_of_the_workloads(modules: Any) -> None:
    run = modules("run")
    command = ["--mlp", "20-50-3", "--batch", "16", "--optimizer", "sgd", "--dtype", "float64", "--lr", "0.5"]
    (own,) = run.chosen(run.parse(command))
    assert str(own) == "relu 20-50-3, batch 16, SGD, float64"
    assert own.lr == 0.5
    (own,) = run.chosen(run.parse(["--lstm", "9-8-7-6", "--length", "5"]))
    assert str(own) == "LSTM 9-8-7-6, batch 32 x 5 steps, Adam, float32"


def test_a_page_without_a_place_for_the_table_is_left_alone(modules: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md: expected the lines"):
        modules("run").write_into(page, "table")
    assert page.read_text(encoding="utf-8") == "nothing here"


def test_a_whole_process_prints_its_loss_and_its_memory(modules: Any) -> None:
    environment = modules("run").environment(1)
    losses = []
    for library in ("loop", "with_pancake", "with_train_step"):
        command = [sys.executable, "-W", "error", str(BENCHMARKS / "whole_process.py"), library]
        loss, memory = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.split()
        losses.append(float(loss))
        assert 10_000 < int(memory) < 1_000_000  # KiB
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-9)


def test_memory_is_flat_and_adam_sees_one_vector(modules: Any) -> None:
    """The checks of scaling.py that count, on smaller numbers."""
    scaling, pk = modules("scaling"), modules("pancake")
    model = pk.mlp([16] * 51, rng=0)
    counted = scaling.CountedAdam(model)
    counted.step()
    assert 1 <= counted.calls <= 2  # the block of memory may end within the model
    kept: list[bytes] = []
    assert scaling.grown(lambda: kept.append(bytes(100)), 10, 1000) > 90
    assert scaling.grown(lambda: None, 10, 1000) < 1


def test_a_check_that_is_over_says_so(modules: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def twice(rounds: int) -> Any:
        """Two figures."""
        yield "the first", 0.5, 1.2
        yield "the second", 3, 2

    scaling = modules("scaling")
    monkeypatch.setattr(scaling, "CHECKS", {"twice": twice})
    scaling.main(["twice"], rounds=1, here=True)
    assert capsys.readouterr().out == (
        "\ntwice: Two figures.\n     0.500 (at most 1.2)  the first\n         3 (at most 2) OVER  the second\n"
    )


def test_nets_in_c_are_compared(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("emlearn", "sklearn"):
        pytest.importorskip(package, reason="compares what the two make of one net")
    in_c = modules("in_c")
    if not in_c.microcontroller.there("this computer"):
        pytest.skip("needs gcc")
    in_c.main(pictures=3)
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    here = {row[1].strip(): float(row[4].strip(" %")) for row in rows if row[0].strip() == "this computer"}
    assert set(here) == {"pancake, float32", "pancake, int8", "emlearn, float32"}
    assert min(here.values()) > 95
    assert max(here.values()) - min(here.values()) < 1


@pytest.mark.slow
def test_starts_are_measured(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """initialisation.py with few and short trainings: three tables of numbers, a row for each start, and the caption."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: it brings the data sets")
    measured = modules("initialisation")
    measured.main(quick=True)
    *tables, caption = capsys.readouterr().out.strip().split("\n\n")
    for table, columns in zip(tables, (7, 6, 2), strict=True):
        head, _, *rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.split("\n")]
        assert len(head) == columns + 1
        assert [row[0] for row in rows] == list(measured.STARTS)
        assert all(re.fullmatch(r"-?\d+\.\d+ ± \d+\.\d+", cell) for row in rows for cell in row[1:])
    assert f"numpy {np.__version__}" in caption


def test_a_start_is_drawn_as_its_name_says(modules: Any) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: initialisation.py imports it")
    pk, measured = modules("pancake"), modules("initialisation")
    model = pk.mlp([300, 200, 100])
    variances = {
        "he_normal": [(2 / 300, 0), (2 / 200, 0)],
        "torch": [(1 / 900, 1 / 900), (1 / 600, 1 / 600)],
        "scikit-learn": [(2 / 500, 2 / 500), (2 / 300, 2 / 300)],
        "Glorot √2, then 1": [(4 / 500, 0), (2 / 300, 0)],
        "He, torch": [(2 / 300, 0), (1 / 600, 0)],
    }
    for start, layers in variances.items():
        measured.begin(model, start, np.random.default_rng(0))
        for layer, (weight, bias) in zip((model[0], model[2]), layers, strict=True):
            assert layer.weight.var() == pytest.approx(weight, rel=0.05)
            assert layer.bias.var() == pytest.approx(bias, rel=0.35)


def test_a_net_is_dead_if_it_says_the_same_of_all(modules: Any) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: initialisation.py imports it")
    measured = modules("initialisation")
    measured.STARTS["zeros"] = ("zeros", "zeros", lambda i, o: 0)
    assert measured.dies("XOR", "zeros", 0)
    assert not measured.dies("XOR", "torch", 1)


# --- beside torch ---

SMALLER_BESIDE_TORCH = {
    "LeNet": {"sizes": (14, 2, 3, 5, 4), "batch": 8},
    "GPT": {"sizes": (7, 8, 2, 2, 7), "batch": 3, "length": 5},
}
TITLES = {"LeNet": "LeNet 14-2-3-5-4, batch 8, Adam, float64", "GPT": "GPT 7-8-2-2-7, batch 3 x 5 steps, Adam, float64"}


def small(modules: Any, name: str) -> Any:
    return modules("workloads").BESIDE_TORCH[name]._replace(dtype="float64", **SMALLER_BESIDE_TORCH[name])


@pytest.mark.parametrize("name", SMALLER_BESIDE_TORCH)
def test_pancake_computes_what_torch_computes(modules: Any, name: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed, beside which nets are timed")
    assert set(modules("workloads").BESIDE_TORCH) == set(SMALLER_BESIDE_TORCH)
    w = small(modules, name)
    expected = modules("with_torch").build(w).results(5)
    assert np.ptp(expected) > 1e-4  # it learns
    np.testing.assert_allclose(modules("with_pancake").build(w).results(5), expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER_BESIDE_TORCH)
def test_ratios_beside_torch(
    modules: Any, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed, beside which nets are timed")
    beside = modules("beside_torch")
    monkeypatch.setattr(modules("run"), "BATCH_SECONDS", 1e-4)
    monkeypatch.setattr(beside, "BESIDE_TORCH", {name: small(modules, name)})
    beside.main(["--rounds", "2"])
    printed = capsys.readouterr()
    assert re.fullmatch(re.escape(TITLES[name]) + r": \d+\.\d\d \(.*\)\n", printed.out)
    assert not printed.err


def test_without_torch_there_is_no_ratio(
    modules: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')\n")  # as if it were not installed
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    beside = modules("beside_torch")
    monkeypatch.setattr(beside, "BESIDE_TORCH", {"LeNet": small(modules, "LeNet")})
    beside.main([])
    printed = capsys.readouterr()
    assert "LeNet: torch is missing: ImportError: no torch" in printed.err
    assert printed.out.endswith("float64: -\n")


class TestEstimators:
    @pytest.fixture
    def estimators(self, modules: Any) -> Any:
        pytest.importorskip("sklearn.base", reason="the estimators need scikit-learn")
        return modules("estimators")

    def test_the_command_prints_a_table_and_draws_it(
        self, estimators: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(estimators.os, "sched_setaffinity", lambda *_: None, raising=False)
        monkeypatch.setattr(estimators, "PEERS", {"scikit-learn": "sklearn"})
        picture, page = tmp_path / "picture.png", tmp_path / "page.md"
        page.write_text(f"before\n{estimators.START}\nold\n<!-- to here -->\nafter\n", encoding="utf-8")
        estimators.main(["--data", "wine", "--splits", "2", "--output", str(picture), "--page", str(page)])
        printed = capsys.readouterr().out
        (row,) = [line for line in printed.splitlines() if line.startswith("| wine, 178 x 13 | accuracy |")]
        _, _, _, ours, theirs, ratio, own, _ = row.split("|")
        assert ours == theirs, "from the same seed they learn the same"
        assert float(ours.split("±")[0]) > 0.9
        assert float(ratio.split("(")[0]) > 0
        assert own.strip().endswith(" s")
        assert row in page.read_text(encoding="utf-8")
        assert plt.imread(picture).shape[2] == 4

    @pytest.mark.slow
    @pytest.mark.parametrize("classes", [True, False])
    def test_torch_learns_too(self, estimators: Any, classes: bool) -> None:
        pytest.importorskip("torch", reason="it is torch that is compared with")
        X, y, _ = estimators.load("wine")
        target = y if classes else X[:, 0]
        predicted = estimators.estimator("torch", classes, 0).fit(X, target).predict(X)
        assert np.mean(predicted == y) > 0.95 if classes else np.mean((predicted - target) ** 2) < 0.1

    @pytest.mark.parametrize(
        ("command", "message"),
        [(["--splits", "1"], "--splits of at least 2"), (["--output", "a.doc"], "--output"), (["--data", "x"], "invalid choice")],
    )
    def test_bad_arguments(self, estimators: Any, command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            estimators.main(command)
        assert message in capsys.readouterr().err


# --- several processes, several threads, sweeps ---


def test_machines_on_paper(modules: Any) -> None:
    allreduce = modules("mpi").allreduce
    # two machines: half a vector there and half of one back, or a whole one both ways at once
    assert allreduce(2, 1000, 1.0, 1.0) == 1001.0
    # small vectors double, large ones go round in a ring
    assert allreduce(8, 8, 1.0, 8.0) == 3 * (1 + 1)
    assert allreduce(8, 8000, 1.0, 1.0) == 14 * (1 + 1000)


def test_tables_of_several_processes(modules: Any) -> None:
    figures = {"W4": {1: [1e-4, 0.0, 70_000], 2: [2e-4, 5e-5, 70_000]}}
    measured, paper = modules("mpi").tables(figures, [1, 2])
    assert measured.splitlines()[-1].endswith("| 0.07 MB | 100 µs | 200 µs | 50 µs, 25% |")
    row = paper.splitlines()[-1]
    speeds = [float(cell.split("(")[0]) for cell in row.split("|")[2:-1]]
    assert len(speeds) == 4
    assert all(1 < speed < machines for speed, machines in zip(speeds, (8, 64, 8, 64), strict=True))


def test_two_threads_beside_one(modules: Any) -> None:
    seconds, ratios = modules("two_threads").measured("W2", 2, 2)
    assert 0 < seconds < 1
    assert len(ratios) == 2


@pytest.mark.parametrize("program", ["mpi", "two_threads", "sweeps"])
def test_wrong_arguments_of_the_newer_programs(program: str) -> None:
    for arguments in (["--page", "nowhere.md"], ["--nonsense"]):
        command = [sys.executable, str(BENCHMARKS / f"{program}.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()[-1]) < 200
        assert "Traceback" not in done.stderr
