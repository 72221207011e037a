"""Parameters side by side in memory: nothing moves, nothing overlaps, nothing is kept longer than its model."""

from __future__ import annotations

import collections
import contextlib
import copy
import ctypes
import gc
import inspect
import itertools
import mmap
import os
import pickle
import subprocess
import sys
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from participant import Dense, Scale
from threads import in_threads

import pancake as pk
from pancake import Linear, Sequential, memory, mlp

F64, F32 = np.dtype(np.float64), np.dtype(np.float32)
layouts = st.lists(st.tuples(st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple), st.sampled_from("CF")), max_size=6)


def places(arrays):
    """The stretches of memory that the arrays take, sorted."""
    return sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays)


def assert_disjoint(arrays):
    stretches = places(arrays)
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(stretches))


@given(layouts, st.sampled_from([F32, F64]))
def test_allocate(layouts, dtype):
    pairs = memory.allocate(layouts, dtype)
    assert len(pairs) == len(layouts)
    for (value, grad), (shape, order) in zip(pairs, layouts, strict=True):
        for array in (value, grad):
            assert array.shape == shape
            assert array.dtype is dtype
            assert array.flags["F_CONTIGUOUS" if order == "F" else "C_CONTIGUOUS"]
            assert not array.any()
    assert_disjoint([a for pair in pairs for a in pair])
    for arrays in zip(*pairs, strict=True):
        stretches = [(a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays]
        assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(stretches))


@given(layouts, st.randoms(use_true_random=False))
def test_runs_cover_every_number_once(layouts, random):
    """Whatever the order and whichever parts of a block are asked for."""
    pairs = [pair for pair in memory.allocate(layouts, F64) if random.random() < 0.7]
    pairs += [(np.zeros((2, 3)), np.zeros((2, 3))), (np.zeros((4, 4))[:, ::2], np.zeros((4, 4))[:, ::2])]
    random.shuffle(pairs)
    values, grads = [value for value, _ in pairs], [grad for _, grad in pairs]
    runs = memory.runs(values, grads)
    for run in runs:
        run.values += 1
        run.grads -= 1
    for value, grad in pairs:
        assert (value == 1).all()
        assert (grad == -1).all()
    seen = []
    for run in runs:
        numbered = np.arange(run.values.size, dtype=float).reshape(run.values.shape)
        run.values[...] = numbered
        for index, part in run.split(numbered, values):
            seen.append(index)
            np.testing.assert_array_equal(part, values[index])
    assert sorted(seen) == list(range(len(values)))


@pytest.mark.usefixtures("fresh_block")
def test_neighbours_are_one_run_and_a_gap_makes_two():
    a, b, c = memory.allocate([((2, 3), "F"), ((3,), "C"), ((1,), "C")], F64)

    def count(*pairs):
        return len(memory.runs([value for value, _ in pairs], [grad for _, grad in pairs]))

    assert count(a, b, c) == count(c, b, a) == 1
    assert count(a, c) == 2
    assert count(a, (a[0].T, a[1].T)) == 1
    assert count(a, memory.allocate([((2,), "C")], F32)[0]) == 2


def test_a_weight_and_a_bias_of_two_blocks_are_not_joined(monkeypatch):
    pairs = []
    for _ in range(2):
        monkeypatch.setattr(memory, "_blocks", {})
        pairs.append(memory.allocate([((2, 3), "F"), ((2,), "C")], F64))
    (weight, grad_weight), (bias, grad_bias) = pairs[0]
    value, grad = pairs[1][1]
    assert memory.joined([weight, bias], [grad_weight, grad_bias]) is not None
    assert memory.joined([weight, value], [grad_weight, grad]) is None


def test_a_gradient_at_another_offset_is_no_neighbour():
    """The first value with the second gradient: they must not be taken for a pair of the block."""
    (a, grad_a), (b, grad_b) = memory.allocate([((3,), "C"), ((3,), "C")], F64)
    runs = memory.runs([a, b], [grad_b, grad_a])
    assert len(runs) == 2
    for run in runs:
        run.values += run.grads
    grad_a += 1
    for run in runs:
        run.values -= run.grads
    np.testing.assert_array_equal(a, 0)
    np.testing.assert_array_equal(b, -1)


@given(layouts, st.sampled_from([None, F32, F64]))
def test_copies(layouts, dtype):
    generator = np.random.default_rng(0)
    originals = [*memory.allocate(layouts, F64), (np.zeros((2, 2)), np.zeros((2, 2)))]
    for value, grad in originals:
        value += generator.normal(size=value.shape)
        grad += generator.normal(size=grad.shape)
    copied = memory.copies(originals, dtype)
    for pair, new_pair in zip(originals, copied, strict=True):
        for old, new in zip(pair, new_pair, strict=True):
            np.testing.assert_array_equal(new, old.astype(dtype or F64))
            assert new.flags.f_contiguous == old.flags.f_contiguous
    assert_disjoint([a for pair in originals + copied for a in pair])


def test_copies_of_pairs_that_do_not_fit_are_made_as_they_are():
    (value, grad) = memory.copies([(np.ones(3), np.zeros(1))])[0]
    assert (value.shape, grad.shape) == ((3,), (1,))


def test_a_request_larger_than_a_block():
    n = memory.BLOCK_SIZE + 5
    ((value, grad),) = memory.allocate([((n,), "C")], F64)
    assert value.shape == grad.shape == (n,)
    ((next_value, _),) = memory.allocate([((3,), "C")], F64)
    assert_disjoint([value, next_value])


# --- memory ---


@pytest.mark.usefixtures("fresh_block")
def test_blocks_of_dropped_models_are_freed():
    models = [mlp([30, 40, 2]) for _ in range(3)]
    block = weakref.ref(memory._blocks[F64].values)
    while memory._blocks[F64].values is block():
        mlp([30, 40, 2])
    del models
    gc.collect()
    assert block() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: mlp([30, 300, 2], rng=0),
        lambda: copy.deepcopy(mlp([30, 300, 2], rng=0)),
        lambda: pickle.loads(pickle.dumps(Sequential([Linear(30, 300, rng=0), Scale()]))),
        lambda: mlp([30, 300, 2], rng=0).astype(np.float32),
    ],
    ids=["new", "deepcopy", "pickle", "astype"],
)
def test_thousands_of_models_leave_nothing_behind(make):
    make()
    gc.collect()
    before, most = blocks_alive(), 0
    tracemalloc.start()
    try:
        for _ in range(300):  # three million parameters: 11 blocks
            make()
            most = max(most, blocks_alive())
        gc.collect()
        current = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert most <= before + 2  # of either dtype one that goes
    assert blocks_alive() <= before + 1
    assert current < 1e6  # 300 models without their numbers have more
    assert not memory._successors


def blocks_alive():
    return sum(isinstance(thing, memory._Pages) for thing in gc.get_objects()) / 2


def test_blocks_are_only_touched_under_the_lock(monkeypatch):
    """With a global interpreter lock a race is too rare to be seen; without one it is not."""

    class Guarded(dict):
        def get(self, key):
            assert memory._lock.locked()
            return super().get(key)

        def __setitem__(self, key, block):
            assert memory._lock.locked()
            super().__setitem__(key, block)

    monkeypatch.setattr(memory, "_blocks", Guarded())
    Linear(2, 2)
    assert len(memory._blocks) == 1
    assert not memory._lock.locked()


def test_threads_get_memory_of_their_own():
    results = in_threads(lambda seed: [memory.allocate([((3,), "C")], F64)[0] for _ in range(2000)])
    assert_disjoint([array for pairs in results.values() for pair in pairs for array in pair])


def test_threads_make_models():
    results = in_threads(lambda seed: [mlp([3, 5, 2], rng=seed) for _ in range(30)])
    assert_disjoint([a for models in results.values() for m in models for arrays in m.get_params_and_grads() for a in arrays])
    for seed, models in results.items():
        expected = mlp([3, 5, 2], rng=seed)[0].weight
        for model in models:
            np.testing.assert_array_equal(model[0].weight, expected)


def test_copies_and_pickles_share_no_memory_with_the_original():
    model = Sequential([Linear(3, 4, rng=0), Scale(), Dense(4, 2)])
    family = [model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(model).astype(np.float32)]
    assert_disjoint([a for m in family for arrays in m.get_params_and_grads() for a in arrays])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_dtype_that_went_through_a_pickle_is_the_usual_one(duplicate, fresh_block):
    """Layers compare dtypes by identity; an unpickled array has a dtype object of its own."""
    stranger = pickle.loads(pickle.dumps(np.ones(2))).dtype
    assert stranger is not F64
    for model in (Linear(2, 2, dtype=stranger), duplicate(Linear(2, 2, dtype=stranger)), Linear(2, 2)):
        assert model.weight.dtype is F64


def test_the_other_byte_order_becomes_that_of_the_machine():
    assert Linear(2, 2, dtype=F32.newbyteorder()).weight.dtype is F32
    assert Linear(2, 2).astype(F32.newbyteorder()).weight.dtype is F32


# --- arrays that took the place of others ---


def test_current_follows_every_exchange():
    a, b, c = (np.zeros(2) for _ in range(3))
    assert memory.current(a) is a
    memory.exchanged(a, b)
    memory.exchanged(b, c)
    assert memory.current(a) is memory.current(b) is memory.current(c) is c


def test_a_forgotten_array_is_not_mistaken_for_a_new_one_at_its_address():
    for _ in range(100):
        old = np.zeros(2)
        memory.exchanged(old, np.ones(2))
        del old
        fresh = np.zeros(2)
        assert memory.current(fresh) is fresh
    assert not memory._successors


# --- what is kept of a large model, and what it costs to make one ---


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which pages are in memory")


def resident(array):
    """How much of the block that an array lies in is in memory, as bytes, and where the block begins."""
    whole = memory._whole(array)
    pages = np.zeros(-(-whole.nbytes // mmap.PAGESIZE), np.uint8)
    start, size, found = ctypes.c_void_p(whole.ctypes.data), ctypes.c_size_t(whole.nbytes), ctypes.c_void_p(pages.ctypes.data)
    assert ctypes.CDLL(None).mincore(start, size, found) == 0
    return int((pages & 1).sum()) * mmap.PAGESIZE, whole.ctypes.data


def assert_only_these_are_in_memory(layers):
    memory.make_room(1 << 25, F64)  # so that no huge page has numbers and room for others
    gc.collect()  # the models, if they are in circles
    gc.collect()  # and what the layers have held of them
    wanted, got = collections.Counter(), {}
    for array in (array for layer in layers for arrays in layer.get_params_and_grads() for array in arrays):
        size, block = resident(array)
        got[block] = size
        wanted[block] += array.nbytes + 2 * mmap.PAGESIZE  # which it has a part of
    assert all(size <= wanted[block] for block, size in got.items()), (got, wanted)
    assert sum(got.values()) > sum(layer.weight.nbytes for layer in layers)


def four_lines(model, loss, optimizer, x, y):
    optimizer.zero_grad()
    loss(model(x), y)
    model.accumulate_grads(loss.compute_backward())
    optimizer.step()


USES = {
    "made": lambda model, *rest: None,
    "four lines": four_lines,
    "step": lambda model, loss, optimizer, x, y: pk.TrainStep(model, loss, optimizer)(x, y),
    "fit": lambda *everything: pk.fit(*everything, epochs=2, progress=False),
    "predict": lambda model, loss, optimizer, x, y: pk.predict(model, x),
}
SIZES = [300, 1000, 1000, 5]
LARGE = {
    "mlp": lambda: mlp(SIZES, rng=0),
    "by hand": lambda: Sequential([Linear(*sizes, rng=0) for sizes in itertools.pairwise(SIZES)]),
    "others between": lambda: Sequential(
        [Linear(300, 1000, rng=0), pk.Residual(Sequential([Linear(1000, 1000, rng=0), pk.Tanh()])), Linear(1000, 5, rng=0)]
    ),
    "copy": lambda: copy.deepcopy(mlp(SIZES, rng=0)),
    "recurrent": lambda: Sequential(
        [pk.Reshape((-1, 3, 100)), pk.Unrolled(pk.LSTMCell(100, 350, rng=0), return_sequences=False), Linear(350, 5, rng=0)]
    ),
}


@linux
@pytest.mark.usefixtures("fresh_block")
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("make", LARGE)
def test_a_layer_that_is_kept_holds_no_dropped_model(make, use):
    x, y = np.random.default_rng(0).normal(size=(8, 300)), np.zeros(8, int)

    def last():
        model = LARGE[make]()
        USES[use](model, pk.CrossEntropy(), pk.SGD(model), x, y)
        return model[-1]

    kept = [last() for _ in range(3)]
    assert_only_these_are_in_memory(kept)
    assert all(layer.weight.all() for layer in kept)


@linux
@pytest.mark.usefixtures("fresh_block")
def test_a_small_layer_holds_no_large_block():
    kept = []
    for _ in range(5):
        mlp([100, 700, 200], rng=0)  # 211,000 numbers: nearly a block
        kept.append(Linear(4, 4, rng=0))
    assert_only_these_are_in_memory(kept)


@linux
@pytest.mark.usefixtures("fresh_block")
def test_pages_are_given_back_when_nothing_lies_on_them_any_more():
    page = mmap.PAGESIZE // 8  # numbers
    pairs = memory.allocate([((page // 2,), "C"), ((0, 3), "C"), ((2, 2 * page), "F"), ((0,), "C"), ((3 * page,), "C")], F64)
    del pairs[1], pairs[2]  # which take no memory
    for pair in pairs:
        for array in pair:
            array += 1
    whole = memory._whole(pairs[-1][0])
    stop = sum(value.size for value, _ in pairs)
    column = pairs[1][0][:, 3]  # a view of the second
    del pair, array, pairs[1]
    assert (whole[:stop] == 1).all()
    del column
    given_back = np.zeros(stop, bool)
    given_back[page : 4 * page] = True  # the second one has half of the first page, and of the fifth
    np.testing.assert_array_equal(whole[:stop], np.where(given_back, 0, 1))
    first, last = pairs
    assert all((array == 1).all() for array in (*first, *last))
    block = memory._blocks[F64]
    assert len(block.values.pieces) == len(block.grads.pieces) == 2


@linux
@pytest.mark.usefixtures("fresh_block")
def test_maps_of_memory_do_not_become_more_with_layers_that_are_kept():
    def maps():
        return len(Path("/proc/self/maps").read_text().splitlines())

    kept, before = [], maps()
    for _ in range(1000):
        Linear(48, 48, rng=0)
        kept.append(Linear(48, 48, rng=0))
    assert maps() - before < 100
    assert all(layer.weight.all() for layer in kept)


@pytest.mark.usefixtures("fresh_block")
def test_an_interrupt_between_two_blocks_gives_nothing_back_that_comes_to_be_used():
    lines, start = inspect.getsourcelines(memory._Block.__init__)
    for line in range(start, start + len(lines)):
        neighbour = Linear(30, 30, rng=0)

        def trace(frame, event, argument, line=line):
            if event == "line" and frame.f_lineno == line:
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(lambda frame, *rest: trace if frame.f_code is memory._Block.__init__.__code__ else None)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                memory.make_room(1 << 19, F64)
        finally:
            sys.settrace(before)
        layer = Linear(20, 20, rng=0)
        del neighbour
        assert layer.weight.all()


def test_more_parameters_than_memory():
    for n in (10**10, 10**14):  # more than any address space, and more than a size can say
        with pytest.raises(MemoryError, match=r"parameters that need .* GiB, and their gradients, find no room in memory"):
            Linear(10**6, n)
    assert Linear(2, 3).weight.any()  # whose block is the one before


FORKED = """
import os
import pancake as pk
layer = pk.Linear(2, 2)
before = layer.weight.copy()
child = os.fork()
if not child:
    layer.weight[...] = 7
    os._exit(0)
os.waitpid(child, 0)
assert (layer.weight == before).all()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_a_forked_process_has_parameters_of_its_own():
    subprocess.run([sys.executable, "-c", FORKED], check=True)


def test_a_model_that_a_module_holds_to_the_end_of_the_process_goes_without_a_word():
    held = "import numpy as np, pancake as pk; np.held = pk.Linear(2, 3)"
    assert not subprocess.run([sys.executable, "-c", held], check=True, capture_output=True).stderr


@pytest.mark.parametrize("build", [lambda n: mlp([4] * (n + 1), rng=0), lambda n: Sequential([Linear(4, 4) for _ in range(n)])])
def test_a_deep_stack_is_built_in_linear_time(build, monkeypatch):
    """The parts that are visited in the search for parts, and all calls of the library, are counted; there is no clock."""

    def calls(n):
        count = 0

        def tick(frame, event, argument):
            nonlocal count
            count += event == "call" and "pancake" in frame.f_code.co_filename

        before = sys.getprofile()
        sys.setprofile(tick)
        try:
            build(n)
        finally:
            sys.setprofile(before)
        return count

    few, many = calls(100), calls(1000)
    assert many < 11 * few


@pytest.mark.parametrize("sizes", [[100, 512, 512, 512, 512, 512, 10], [50] * 200, [300, 600, 600, 600, 600, 600, 600, 50]])
def test_an_mlp_is_one_vector_whatever_its_size(sizes, fresh_block):
    mlp([3, 4, 2])  # which has begun a block
    model = mlp(sizes, rng=0)
    (run,) = memory.runs(*model.get_params_and_grads())
    assert run.values.size == model.num_parameters > 2**18
