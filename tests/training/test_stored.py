"""Arrays that are not in memory: what is read of them, and that it makes no difference."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

import pancake as pk
from pancake.training import stored

N, F = 600, 12
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, F)).astype(np.float32), RNG.integers(0, 3, N)


class Lazy:
    """What zarr, Dask and h5py have in common, and a book of what is read."""

    def __init__(self, array: Any, chunk: int | None = None) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.chunks = None if chunk is None else (chunk, *array.shape[1:])
        self.reads: list[tuple[int, int]] = []

    def __getitem__(self, rows: slice) -> Any:
        self.reads.append((rows.start, rows.stop))
        return self.array[rows]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("all of it is read")


def on_disk(folder: Any, array: Any) -> Any:
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


@pytest.fixture(params=["memmap", "lazy", "chunks", "zarr", "dask"])
def keep(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """A function that puts an array elsewhere."""
    if request.param in ("zarr", "dask"):
        pytest.importorskip(request.param)
    if request.param == "zarr":
        import zarr

        return lambda array: zarr.array(array, chunks=(50, *array.shape[1:]))
    if request.param == "dask":
        import dask.array

        return lambda array: dask.array.from_array(array, chunks=(50, *array.shape[1:]))
    return {"memmap": lambda a: on_disk(tmp_path, a), "lazy": Lazy, "chunks": lambda a: Lazy(a, 50)}[request.param]


def trained(x: Any, y: Any = Y, **options: Any) -> Any:
    model = pk.mlp([F, 8, 3], rng=0)
    options = {"epochs": 2, "batch_size": 32, "rng": 0, "progress": False, "metrics": {"accuracy": pk.accuracy}, **options}
    history = pk.fit(model, pk.CrossEntropy(), pk.Adam(model, lr=0.01), x, y, **options)
    return model, {name: column for name, column in history.items() if name != "seconds"}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("validation", [None, 0.2])
def test_training_is_that_with_an_array(keep: Any, shuffle: bool, validation: float | None) -> None:
    expected, figures = trained(X, shuffle=shuffle, validation=validation)
    model, same = trained(keep(X), shuffle=shuffle, validation=validation)
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
    assert same.keys() == figures.keys()
    for name, column in figures.items():
        np.testing.assert_allclose(same[name], column, rtol=1e-6)


def test_targets_and_weights_elsewhere(keep: Any) -> None:
    w = RNG.uniform(size=N)
    expected, _ = trained(X, sample_weight=w)
    model, _ = trained(X, keep(Y), sample_weight=keep(w))
    np.testing.assert_array_equal(model[0].weight, expected[0].weight)


def test_predictions_and_figures_are_those_of_an_array(keep: Any) -> None:
    model = pk.mlp([F, 8, 3], rng=0)
    np.testing.assert_array_equal(pk.predict(model, keep(X)), pk.predict(model, X))
    metrics = {"accuracy": pk.accuracy}
    expected = pk.evaluate(model, pk.CrossEntropy(), X, Y, metrics=metrics)
    found = pk.evaluate(model, pk.CrossEntropy(), keep(X), keep(Y), metrics=metrics)
    assert found["accuracy"] == expected["accuracy"]
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-12)


@pytest.mark.parametrize("model", [pk.Linear(F, 3, rng=0), pk.Mean(), pk.Transpose((0,))], ids=repr)
def test_what_fits_a_block_may_become_anything_as_with_an_array(keep: Any, model: pk.Function) -> None:
    np.testing.assert_array_equal(pk.predict(model, keep(X[0])), pk.predict(model, X[0]))


def test_no_more_is_read_than_batches_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pancake.training.batches.BLOCK", 100 * F)
    monkeypatch.setattr("pancake.training.batches.WINDOW", 100 * F)
    monkeypatch.setattr("pancake.training.predict.NUMBERS", 100 * F)
    x = Lazy(X, 50)
    trained(x, batch_size=20, epochs=1, metrics=None)
    assert max(stop - start for start, stop in x.reads) <= 50
    assert sum(stop - start for start, stop in x.reads) <= 1.1 * N  # each chunk once, and a few rows beforehand
    assert len(x.reads) > N // 50
    x = Lazy(X)
    pk.predict(pk.mlp([F, 8, 3], rng=0), x)
    assert x.reads == [(start, start + 100) for start in range(0, N, 100)]


def test_chunks_are_shuffled_and_the_rows_of_some_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pancake.training.batches.BLOCK", 1)
    monkeypatch.setattr("pancake.training.batches.WINDOW", 200)  # numbers, of x and y
    seen: list[Any] = []

    class Watching(pk.Function):
        def compute_forward(self, x: Any) -> Any:
            if self.training:
                seen.append(x.ravel().copy())
            return x

        def compute_backward(self, dObj_dOut: Any) -> Any:
            return dObj_dOut.copy()

    x = np.arange(float(N)).reshape(-1, 1)
    model = pk.Sequential([Watching(), pk.Linear(1, 1, rng=0)])
    pk.fit(model, pk.MeanSquaredError(), pk.SGD(model, lr=0.0), Lazy(x, 50), x, epochs=2, batch_size=20, rng=0, progress=False)
    first, second = np.concatenate(seen)[:N], np.concatenate(seen)[-N:]
    assert sorted(first) == sorted(second) == x.ravel().tolist()
    assert not np.array_equal(first, second)
    for start in range(0, N, 100):
        assert len(set(first[start : start + 100] // 50)) == 2  # chunks
        assert abs(np.diff(first[start : start + 100]) < 0).sum() > 20  # in no order


def test_what_has_no_weight_may_be_anything(keep: Any) -> None:
    holes = X.copy()
    holes[::7] = np.nan
    w = (np.arange(N) % 7 != 0).astype(float)
    expected, _ = trained(X, sample_weight=w, metrics=None)
    model, _ = trained(keep(holes), sample_weight=w, metrics=None)
    np.testing.assert_allclose(model[0].weight, expected[0].weight, rtol=1e-12)


def test_a_number_that_is_not_finite_is_found_in_its_batch(keep: Any) -> None:
    holes = X.copy()
    holes[100, 3] = np.nan
    with pytest.raises(
        pk.NonFiniteError, match=r"epoch 1, batch 4: the inputs of that batch have nan or inf in them: nan in row 4"
    ):
        trained(keep(holes), shuffle=False)


def test_targets_that_are_too_large_are_read_by_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pancake.training.batches.SMALL", 100)
    monkeypatch.setattr("pancake.training.evaluate.NUMBERS", 100 * F)
    model, other = (pk.mlp([F, 4, F], rng=0) for _ in range(2))
    options = {"epochs": 2, "shuffle": False, "progress": False, "validation": 0.2}
    pk.fit(model, pk.MeanSquaredError(), pk.SGD(model), Lazy(X), Lazy(X), **options)
    history = pk.fit(other, pk.MeanSquaredError(), pk.SGD(other), X, X, **options)
    np.testing.assert_array_equal(model[0].weight, other[0].weight)
    lazy = Lazy(X)
    value = pk.evaluate(model, pk.MeanSquaredError(), Lazy(X), lazy)["loss"]
    np.testing.assert_allclose(value, pk.evaluate(other, pk.MeanSquaredError(), X, X)["loss"], rtol=1e-12)
    assert max(stop - start for start, stop in lazy.reads) <= 100
    assert history["val_loss"]


def test_several_inputs_and_images(keep: Any) -> None:
    images = (RNG.uniform(size=(N, 1, 4, 3)) * 255).astype(np.uint8)
    model = pk.Sequential([pk.Conv2d(1, 2, 2, rng=0), pk.Flatten(), pk.Linear(12, 3, rng=0)])
    other = pk.Sequential([pk.Conv2d(1, 2, 2, rng=0), pk.Flatten(), pk.Linear(12, 3, rng=0)])
    for m, x in ((model, keep(images)), (other, images)):
        pk.fit(m, pk.CrossEntropy(), pk.SGD(m, lr=1e-5), x, Y, epochs=1, rng=0, progress=False)
    np.testing.assert_array_equal(model[0].weight, other[0].weight)
    pair = pk.Sequential([pk.Concatenate([pk.Linear(F, 2, rng=0), pk.Linear(F, 2, rng=0)]), pk.Linear(4, 3, rng=0)])
    np.testing.assert_array_equal(pk.predict(pair, (keep(X), X)), pk.predict(pair, (X, X)))


# --- how much memory ---


def test_little_more_memory_than_a_window(tmp_path: Any) -> None:
    """32 MB, of which not even the validation data are copied."""
    with open(tmp_path / "x", "wb") as file:
        file.truncate(32 << 20)  # holes, which take no room on the disk
    x = np.memmap(tmp_path / "x", np.float32, "r", shape=(8192, 1024))
    y = np.arange(8192) % 2
    model = pk.mlp([1024, 2], rng=0, dtype=np.float32)
    optimizer = pk.SGD(model)
    tracemalloc.start()
    pk.fit(model, pk.CrossEntropy(), optimizer, x, y, epochs=1, batch_size=64, validation=0.2, progress=False)
    pk.predict(model, x)
    pk.evaluate(model, pk.CrossEntropy(), x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6


GIGABYTE = """
import resource, sys
import numpy as np
import pancake as pk

x = np.memmap(sys.argv[1], np.float32, "r", shape=(1 << 18, 1024))
y = np.arange(len(x)) % 2
model = pk.mlp([1024, 8, 2], rng=0, dtype=np.float32)
optimizer = pk.SGD(model)
options = {"batch_size": 256, "validation": 0.1, "epochs": 1, "progress": False}
pk.fit(model, pk.CrossEntropy(), optimizer, np.zeros((9000, 1024), np.float32), y[:9000], **options)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pk.fit(model, pk.CrossEntropy(), optimizer, x, y, **options)
pk.predict(model, x)
pk.evaluate(model, pk.CrossEntropy(), x, y)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is told in other units")
def test_a_gigabyte_on_a_disk_needs_less_than_50_megabytes(tmp_path: Any) -> None:
    """The pages of the file that are mapped into memory are counted too."""
    with open(tmp_path / "x", "wb") as file:
        file.truncate(1 << 30)
    program = GIGABYTE.replace("np.zeros((9000, 1024), np.float32)", "x[:9000]")
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50e6


# --- what is read as a whole ---


def test_what_would_be_read_as_a_whole_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Table:
        nbytes = 80

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return X

    model = pk.mlp([F, 8, 3], rng=0)
    pk.predict(model, Table())
    monkeypatch.setattr(stored, "LARGE", 79)
    with pytest.warns(
        UserWarning, match=r"predict: x is a \w+ Table of 0 MB, which is copied into memory as a whole; pass batches"
    ):
        pk.predict(model, Table())
    with pytest.warns(UserWarning, match=r"fit: x is a \w+ Table"):
        trained(Table())


def test_dask_without_numbers_of_rows_is_refused() -> None:
    dask_array = pytest.importorskip("dask.array")
    x = dask_array.from_array(X, chunks=(50, F))
    with pytest.raises(
        TypeError, match=r"fit: x is a dask Array of which nobody knows how many rows it has; .*compute_chunk_sizes"
    ):
        trained(x[x[:, 0] > 0])
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    frame = frames.from_pandas(pandas.DataFrame(X), npartitions=2)
    with pytest.raises(TypeError, match=r"nobody knows how many rows it has; `\.to_dask_array\(lengths=True\)`"):
        trained(frame)
    expected, _ = trained(X)
    model, _ = trained(frame.to_dask_array(lengths=True))
    np.testing.assert_allclose(model[0].weight, expected[0].weight, rtol=1e-12)


def test_other_bytes_and_views(tmp_path: Any) -> None:
    expected, _ = trained(X[:, ::-1])
    model, _ = trained(on_disk(tmp_path, X.astype(">f4"))[:, ::-1])
    np.testing.assert_array_equal(model[0].weight, expected[0].weight)
    np.testing.assert_array_equal(pk.predict(model, on_disk(tmp_path, X.astype(">f4"))), pk.predict(model, X))


def test_arrays_of_names_are_refused(keep: Any) -> None:
    with pytest.raises(TypeError, match="expected x to be an array of real numbers, got one of dtype complex64"):
        trained(keep(X.astype(np.complex64)))


def test_a_private_map_keeps_its_changes(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="c")
    x[:] = 1
    trained(x)
    assert (x == 1).all()


# --- sparse matrices ---


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_array", "coo_matrix"])
def test_sparse_matrices_train_as_dense_ones(kind: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.where(RNG.uniform(size=(N, F)) < 0.2, X, 0)
    x = getattr(sparse, kind)(dense)
    w = RNG.uniform(size=N)
    for options in ({}, {"validation": 0.2, "sample_weight": w}, {"shuffle": False, "validation": (x, Y)}):
        plain = {**options, "validation": (dense, Y)} if isinstance(options.get("validation"), tuple) else options
        expected, figures = trained(dense, **plain)
        model, same = trained(x, **options)
        np.testing.assert_allclose(model[0].weight, expected[0].weight, rtol=1e-10, atol=1e-12)
        for name, column in figures.items():
            np.testing.assert_allclose(same[name], column, rtol=1e-10)
    np.testing.assert_allclose(pk.predict(model, x), pk.predict(model, dense), rtol=1e-12, atol=1e-15)  # of sums that cancel
    batches = [(x.tocsr()[i : i + 50], Y[i : i + 50]) for i in range(0, N, 50)]
    pk.fit(model, pk.CrossEntropy(), pk.SGD(model), batches, epochs=2, progress=False)


@pytest.mark.parametrize("off", [False, True])
def test_linear_takes_a_sparse_batch_and_makes_nothing_dense_of_it(off: bool) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.random(64, 20_000, 1e-3, format="csr", random_state=0)
    model = pk.Sequential([pk.Linear(20_000, 2, rng=0), pk.Tanh(), pk.Linear(2, 2, rng=0)])
    loss = pk.CrossEntropy()
    if off:
        with pk.fast.off():
            peak = memory_of(model, loss, x)
    else:
        peak = memory_of(model, loss, x)
    assert peak < 0.3 * 64 * 20_000 * 8
    dense = pk.Linear(20_000, 2, rng=0)
    d = RNG.normal(size=(64, 2))
    layer = pk.Linear(20_000, 2, rng=0)
    np.testing.assert_allclose(layer(x), dense(x.toarray()), rtol=1e-12)
    np.testing.assert_allclose(layer.compute_backward(d), dense.compute_backward(d))
    np.testing.assert_allclose(layer.grad_weight, dense.grad_weight, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(layer.grad_bias, dense.grad_bias)


def memory_of(model: Any, loss: Any, x: Any) -> int:
    """The most memory that a forward and a backward need."""
    tracemalloc.start()
    loss(model(x), np.zeros(x.shape[0], int))
    model.accumulate_grads(loss.compute_backward())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_sparse_faults_are_told() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.csr_array(np.where(X > 0, X, 0))
    with pytest.raises(ValueError, match=r"Linear\(12, 8\): expected \(B, 12\), got a sparse matrix \(5, 3\)"):
        pk.Linear(F, 8)(x[:5, :3])
    with pytest.raises(TypeError, match="expected input to be real numbers"):
        pk.Tanh()(x)
    x.data[0] = np.nan
    with pytest.raises(ValueError, match="expected finite numbers in x, got nan in row 0, column"):
        trained(x)
    copied = sparse.csr_array(np.ones((4, F)))
    layer = pk.Linear(F, 2, rng=0)
    layer(copied)
    copied.data[:] = 5
    layer.accumulate_grads(np.ones((4, 2)))
    np.testing.assert_allclose(layer.grad_weight, 4)
