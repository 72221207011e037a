"""`Sequential` on the fast path: neighbours of known classes run as one program, all others by their own methods.

A stack is cut into segments: stretches of layers that have a kernel, of exactly the library's classes, with exactly its methods.
For each shape of input a segment makes a program in its first forward. Whenever anything that a program was made from is no
longer the same object (an array, a setting, a method of an object or of a class), or a layer has been called by itself since the
forward, the plain layers take over, which find in their caches what the program has left there.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from pancake import memory
from pancake.fast import cells, embeddings, switch
from pancake.fast.embeddings import EmbeddingKernel
from pancake.fast.kernels import ACTIVATIONS, METHODS, Kernel, Lies, LinearKernel
from pancake.fast.program import Left, Notes, Owner, Ran, Text
from pancake.fast.sequences import UnrolledKernel
from pancake.function import Function, Kept
from pancake.functions.containers import Sequential, has_parameters, note_answered, remembering
from pancake.functions.embedding import Embedding
from pancake.functions.linear import Linear
from pancake.memory import Array
from pancake.optimizers.optimizer import Optimizer
from pancake.recurrent.unrolled import Unrolled

DTYPES = frozenset(map(np.dtype, (np.float32, np.float64)))
PROGRAMS = 8  # so many are kept of a segment, for the batches at the end of an epoch, say
LARGE = 1 << 22  # numbers in the arrays of programs; beyond it older ones go

LAYERS = {Linear, Unrolled, *ACTIVATIONS}
INSTALLED: dict[str, Any] = {}  # the methods of `Sequential` that `install` makes
OURS: dict[tuple[type, str], Any] = {}  # and those of the layers
STEPPING = {name: getattr(Optimizer, name) for name in ("step", "zero_grad")}  # noted here, since whole steps are loaded later


class Chain:
    """The kernels of neighbouring layers for inputs of one shape and dtype, and what their runs leave in the layers.

    Attributes
    ----------
    output : ndarray
        What comes out of the last layer, in the program's own memory; not filled where `fresh` memory was asked for.
    result : str
        With `fresh`, the expression of what comes out as new memory.
    guarded, methods : list
        What must stay the same for the kernels to be those of the layers, as `Notes.unchanged` takes it.
    places : list
        Where the layers find what the runs leave.
    latest : Ran
        What the latest run has left in the stack.
    """

    def __init__(self, layers: list[Any], x: Array, notes: Notes, fresh: bool) -> None:
        """Note the forward, a function of `x`."""
        self.layers, self.key = layers, key_of(x)
        sequences = any(type(layer) is Unrolled for layer in layers)
        leading = x.shape if type(layers[0]) is Embedding else x.shape[:-1]
        lies = Lies(leading, dtype_of(layers[0]), sequences or time_first(x), sequences)
        self.kernels: list[Any] = []
        for layer in layers:
            before = self.kernels[-1] if self.kernels else None
            self.kernels.append(kernel_of(layer, notes, lies, before, layer is layers[-1], fresh))
            lies = self.kernels[-1].lies
        self.lies, kernel = lies, self.kernels[-1]
        self.output = lies.seen(kernel.y)
        self.result = kernel.result if isinstance(kernel, LinearKernel) else f"{notes.name(self.output)}.copy('K')"
        self.looks = self.kernels[0].looks(notes, x)
        self.left = [Left(self, kernel.kept) for kernel in self.kernels]
        self.older, self.latest = False, Ran()
        self.latest.program = self
        self.guarded: list[Owner] = []
        self.methods: list[tuple[type, str]] = []
        for kernel in self.kernels:
            owners, methods = kernel.depends_on()
            self.guarded += owners
            self.methods += methods
        self.places = [(layer, "_cache", left) for layer, left in zip(layers, self.left, strict=True)]

    def note_backward(self, notes: Notes, d: Array, input_too: bool, write: bool) -> str:
        """Note the backward of all layers from d (F, N); the expression of the gradient of the input if it is wanted."""
        for kernel in reversed(self.kernels[1:]):
            d = kernel.backward(notes, d, write)
        if not input_too:
            self.kernels[0].accumulate(notes, d, write)
            return "None"
        dObj_dIn = self.kernels[0].backward(notes, d, write)
        return f"{notes.name(self.kernels[0].seen(dObj_dIn))}.copy('K')"

    def taking_over(self, notes: Notes) -> str:
        """A line that leaves in every layer what it is to remember of the coming run.

        It is there already if every layer has what the run before has left, and that has been answered by a backward.
        """
        chain = notes.held(self)
        there = [f"{chain}.latest.used and not {chain}.older", *notes.unchanged([], [], self.places)]
        return f"if not ({' and '.join(there)}): {notes.held(self.take_over)}()"

    def take_over(self) -> None:
        """Leave in every layer what it is to remember of the coming run."""
        for layer, left in zip(self.layers, self.left, strict=True):
            before = layer._cache
            left.older = before is not None and not before.used
            layer._cache = left
        self.older = any(left.older for left in self.left)

    def kept(self) -> tuple[Any, ...]:
        """What the plain stack would remember."""
        return ([*zip(self.layers, self.left, strict=True)],)


class Program(Chain):
    """What a segment computes for inputs of one shape and dtype.

    Attributes
    ----------
    forward : callable
        A function of x; None, and nothing has happened, if x does not look like the input that the program was made for, or
        something that forward depends on has changed.
    fits : callable
        Whether it would be done: for predictions, of which the layers do not hear.
    compute : callable
        The output alone.
    """

    answer: Callable[[Any], Any] | None = None  # for predictions, see there

    def __init__(self, layers: list[Any], x: Array) -> None:
        notes = Notes()
        super().__init__(layers, x, notes, True)
        self.backwards: dict[tuple[bool, bool], Callable[[Any], Any]] = {}
        self.grads = gradient_bits(layers)
        array, shape, dtype = map(notes.held, (np.ndarray, x.shape, x.dtype))
        looks = [f"x.__class__ is {array} and x.shape == {shape} and x.dtype == {dtype}", *self.looks]
        if x.ndim == 3:
            looks.append(f"{notes.held(key_of)}(x) == {notes.held(self.key)}")
        owners = [(layer, [name for name in names if not name.startswith("grad_")]) for layer, names in self.guarded]
        forwards = [(cls, name) for cls, name in self.methods if name in ("compute_forward", "init_state")]
        looks += notes.unchanged(owners, forwards)
        self.notes, self.looks = notes, looks
        self.forward = notes.write("x", self.result, looks, lines=[self.taking_over(notes), *notes.lines])
        self.fits = notes.write("x", "True", looks, "False", lines=[])
        self.compute = notes.write("x", self.result)
        self.backs = Notes()  # what backward needs as it is now: it is written when it is asked for
        backwards = [method for method in self.methods if method not in forwards]
        self.unchanged = self.backs.unchanged(self.guarded, backwards, self.places)
        self.numbers = sum(kernel.numbers() for kernel in self.kernels)

    def run(self, x: Any, older: bool) -> Any:
        """Run forward, after which `latest` is new; None if that is up to the layers."""
        try:
            y = self.forward(x)
            if y is not None:
                self.latest = ran = Ran()
                ran.program = self
                if older:
                    ran.older = True
        except BaseException:
            for layer in self.layers:
                layer._cache = None
            raise
        return y

    def back(self, d: Any, input_too: bool) -> Any:
        """Run backward, and return the gradient of the input if it is wanted; NotImplemented if that is up to the layers."""
        if self.older and any(left.older and left.used for left in self.left):
            return NotImplemented  # they refuse
        write = self.grads is not None
        backward = self.backwards.get((input_too, write)) or self._write_backward(input_too, write)
        dObj_dIn = backward(d)
        if dObj_dIn is NotImplemented:  # something has changed, or gradients are not zero, or d is not as the program takes it
            if d.__class__ is not np.ndarray or d.shape != self.output.shape or d.dtype != self.lies.dtype:
                if not self.intact():
                    return NotImplemented
                d = self.layers[-1]._upstream(d, self.output.shape, self.lies.dtype)
            backward = self.backwards.get((input_too, False)) or self._write_backward(input_too, False)
            dObj_dIn = backward(d)
            if dObj_dIn is NotImplemented:
                return NotImplemented
        self.latest.used = True
        return dObj_dIn

    @functools.cached_property
    def intact(self) -> Callable[[], bool]:
        """Whether all that backward depends on is still the same."""
        return self.backs.write("", "True", self.unchanged, "False")

    def _write_backward(self, input_too: bool, write: bool) -> Callable[[Any], Any]:
        """The function of dObj_dOut, which returns NotImplemented, and nothing has happened, if it must not run.

        With `write` that is also where a gradient is not zero: products are written into them instead of added.
        """
        if not self.intact():
            return _refuse  # not written with what is there now, which may be put back
        notes = self.backs.copy()
        d: Any = Text("d")
        array, shape, dtype = map(notes.held, (np.ndarray, self.output.shape, self.lies.dtype))
        looks = [f"not {notes.name(bits.item)}({notes.name(bits.argmax)}())" for bits in (self.grads or [] if write else [])]
        looks.append(f"d.__class__ is {array} and d.shape == {shape} and d.dtype == {dtype}")
        looks += self.unchanged
        result = self.note_backward(notes, self.lies.columns(d), input_too, write)
        self.backwards[input_too, write] = notes.write("d", result, looks, "NotImplemented")
        return self.backwards[input_too, write]


def _refuse(d: Any) -> Any:
    """A backward that is up to the layers."""
    return NotImplemented


def kernel_of(layer: Any, notes: Notes, lies: Lies, before: Any, last: bool, fresh: bool) -> Kernel:
    """The kernel of a layer after that of the layer `before`, if it is not the first."""
    if isinstance(layer, Linear):
        return LinearKernel(layer, notes, lies, None if before is None else before.y, last, last and fresh)
    if isinstance(layer, Embedding):
        return EmbeddingKernel(layer, notes, lies)
    if isinstance(layer, Unrolled):
        inputs = before.inputs if isinstance(before, EmbeddingKernel) else None if before is None else cells.Rows(before.y.T)
        return UnrolledKernel(layer, notes, lies, inputs)
    z = before.y
    if not isinstance(before, LinearKernel):  # which needs what it has put out, and y would overwrite it
        z = lies.new(len(before.y))
        notes.call(np.copyto, z, before.y)
    return ACTIVATIONS[type(layer)](layer, notes, lies, z)


def time_first(x: Array) -> bool:
    """Whether sequences lie in memory one time step after the other."""
    return x.ndim == 3 and x.strides[1] > x.strides[0]


def dtype_of(layer: Any) -> np.dtype[Any]:
    """The dtype of the parameters of a layer that a stretch may begin with."""
    dtype: np.dtype[Any] = (layer.cell.weight_hh if isinstance(layer, Unrolled) else layer.weight).dtype
    return dtype


def key_of(x: Array) -> tuple[Any, ...]:
    """What must be the same of two inputs for one program to serve both: of sequences also how they lie in memory."""
    return x.shape, x.dtype, time_first(x)


def gradient_bits(layers: list[Any]) -> list[Any] | None:
    """The gradients of the `Linear`s among some layers in few vectors, as truths of their bytes, which are false only in a 0.

    Where all are zero, products are written into them instead of added. None where that cannot be: where two layers share a
    gradient, the second must add to what the first has written.
    """
    pairs = [(layer, pair) for layer in layers for pair in zip(*layer.get_params_and_grads(), strict=True)]
    bounds = sorted(byte_bounds(grad) for _, (_, grad) in pairs)
    if any(later[0] < earlier[1] for earlier, later in itertools.pairwise(bounds)):
        return None
    linear = [pair for layer, pair in pairs if isinstance(layer, Linear)]
    runs = memory.runs([value for value, _ in linear], [grad for _, grad in linear])
    whole = all(run.grads.ndim == 1 and run.grads.flags.c_contiguous for run in runs)
    if not whole or sum(run.grads.size for run in runs) < sum(grad.size for _, grad in linear):
        return None
    return [run.grads.view(np.bool) for run in runs]


class Segment:
    """A stretch of layers that run as one program, one for each shape of input."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.programs: dict[tuple[Any, ...], Program] = {}

    def run(self, x: Any, older: bool) -> tuple[Any, Any]:
        """The program for x, if there can be one, and what its forward puts out."""
        known = self._known(x)
        y = None if known is None else known.run(x, older)
        if y is None:
            known = self.program(x)
            y = None if known is None else known.run(x, older)
        return (None if y is None else known), y  # none for words that the table does not have, too

    def program(self, x: Any) -> Any:
        """The program for x, if there can be one."""
        program = self._known(x)
        if program is not None and not program.fits(x):
            self.programs.clear()
            program = None
        if program is None and can_run(self.layers, x):
            program = Program(self.layers, x)
            while len(self.programs) >= PROGRAMS or (
                self.programs and program.numbers + sum(p.numbers for p in self.programs.values()) > LARGE
            ):
                del self.programs[next(iter(self.programs))]
            self.programs[program.key] = program
        return program

    def _known(self, x: Any) -> Any:
        """The program that was made for such an x."""
        return self.programs.get(key_of(x)) if x.__class__ is np.ndarray else None


def can_run(layers: list[Any], x: Any) -> bool:
    """Whether the layers of a segment fit x and each other, with nobody else's methods on them."""
    return output_shape(layers, x) is not None


def output_shape(layers: list[Any], x: Any) -> tuple[int, ...] | None:
    """The shape of what comes out of the layers of a segment; None if they cannot be one program for x."""
    if x.__class__ is not np.ndarray or x.ndim not in (2, 3) or not x.size:
        return None
    if len(set(map(id, layers))) < len(layers):  # somebody has put one twice into the list, which remembers only its later input
        return None
    if any(layer.frozen or not methods_are_ours(layer) for layer in layers):
        return None
    dtype, shape = dtype_of(layers[0]), x.shape
    if dtype not in DTYPES or (type(layers[0]) is not Embedding and x.dtype not in DTYPES):
        return None
    for layer in layers:
        if isinstance(layer, Linear):
            arrays = [layer.weight, layer.grad_weight, *([] if layer.bias is None else [layer.bias, layer.grad_bias])]
            if layer.n_in != shape[-1] or any(array.dtype != dtype for array in arrays):
                return None
            shape = (*shape[:-1], layer.n_out)
        elif isinstance(layer, Unrolled):
            cell: Any = layer.cell
            if len(shape) != 3 or not cells.can_run(cell) or cell.n_in != shape[-1] or cell.weight_hh.dtype != dtype:
                return None
            shape = (*(shape[:2] if layer.return_sequences else shape[:1]), cell.n_hidden)
        elif isinstance(layer, Embedding):
            if not embeddings.can_run(layer, x, dtype):
                return None
            shape = (*shape, layer.dim)
    return shape


def methods_are_ours(layer: Function) -> bool:
    """Whether nobody has put other methods on an object of a known class, or on the class."""
    cls = type(layer)
    return vars(layer).keys().isdisjoint(METHODS) and all(getattr(cls, name) is OURS[cls, name] for name in METHODS)


def as_installed(stack: dict[str, Any]) -> bool:
    """Whether a `Sequential` with these attributes has the methods of the fast path, and nobody else's."""
    return stack.keys().isdisjoint(METHODS) and all(getattr(Sequential, name) is INSTALLED[name] for name in METHODS)


class State:
    """How a stack is cut into segments and other Functions, as long as its list holds the same ones."""

    def __init__(self, functions: list[Any]) -> None:
        self.functions = functions.copy()
        self.items: list[Any] = []
        stretch: list[Any] = []
        for function in functions:
            unrolled = type(function) is Unrolled and type(function.cell) in cells.KERNELS
            if unrolled and self.items and type(self.items[-1]) is Embedding:
                stretch = [self.items.pop()]
                self.items.append(Segment(stretch))
            if unrolled or type(function) is Linear or (stretch and type(function) in ACTIVATIONS):
                if not stretch:
                    self.items.append(Segment(stretch))
                stretch.append(function)
            else:
                self.items.append(function)
                stretch = []
        self.whole = self.items[0].__class__ is Segment and len(self.items) == 1


STATES: dict[int, tuple[weakref.ref[Any], State]] = {}


def state_of(stack: Sequential) -> State:
    """How a stack is cut, noted anew when its list has changed."""
    key = id(stack)
    known = STATES.get(key)
    if known is None or known[1].functions != stack.functions:
        known = STATES[key] = weakref.ref(stack, functools.partial(STATES.pop, key)), State(stack.functions)
    return known[1]


class StackKept(Kept):
    """What a forward has left in a stack of several segments and Functions, and what has run."""

    __slots__ = ("functions", "ran")

    ran: list[tuple[Any, Program | None]]
    functions: list[Any]


def _left(functions: list[Any]) -> list[tuple[Any, Any]]:
    """What the parts of a stack remember, as the plain stack notes it."""
    left = []
    for function in functions:
        left.append((function, function._cache))
        if function._cache is None:  # as in Functions of users, inside of which there may be some that remember
            left += [(part, part._cache) for part in remembering(function)]
    return left


def _answer(stack: Sequential, kept: StackKept) -> None:
    """Refuse what the plain stack refuses."""
    if stack.functions != kept.functions or (kept.used and kept.older) or any(p._cache is not c for p, c in kept.what[0]):
        stack._remembered()


def forward_in_parts(stack: Sequential, state: State, x: Any) -> Any:
    """Run the segments of a stack, and its other Functions by their own methods."""
    before, stack._cache = stack._cache, None  # until all are through
    older = before is not None and not before.used
    ran = []
    for item in state.items:
        program, y = item.run(x, older) if isinstance(item, Segment) else (None, None)
        if program is not None:
            x = y
        else:
            for function in item.layers if isinstance(item, Segment) else [item]:
                x = function.compute_forward(x)
        ran.append((item, program))
    if state.whole and program is not None:
        stack._cache = program.latest
    else:
        stack._cache = kept = StackKept((_left(stack.functions),), older)
        kept.ran, kept.functions = ran, state.functions
    return x


def back_through(item: Any, program: Program | None, d: Any, input_too: bool) -> Any:
    """The chain rule through a segment or another Function."""
    if program is not None:
        dObj_dIn = program.back(d, input_too)
        if dObj_dIn is not NotImplemented:
            return dObj_dIn
    layers = item.layers if isinstance(item, Segment) else [item]
    for layer in reversed(layers[1:]):
        d = layer.compute_backward(d)
    return layers[0].compute_backward(d) if input_too else layers[0].accumulate_grads(d)


def install() -> None:
    """Put the fast path before the methods of `Sequential`."""
    plain_forward, plain_backward = Sequential.compute_forward, Sequential.compute_backward
    plain_accumulate = Sequential.accumulate_grads

    @functools.wraps(plain_forward)
    def compute_forward(self: Sequential, x: Any, lengths: Any = None) -> Any:
        kept = self._cache
        if kept.__class__ is Ran and kept.program.layers == self.functions and lengths is None and not switch.reasons:
            self._cache = None  # until the run is through
            y = kept.program.run(x, not kept.used)
            if y is not None:
                self._cache = kept.program.latest
                return y
            self._cache = kept
        if switch.reasons or lengths is not None or self.__class__ is not Sequential or not self.functions:
            return plain_forward(self, x, lengths)
        return forward_in_parts(self, state_of(self), x)

    @functools.wraps(plain_backward)
    def compute_backward(self: Sequential, dObj_dOut: Any) -> Any:
        kept = self._cache
        if kept.__class__ is Ran and kept.program.layers == self.functions and not switch.reasons:
            if not (kept.used and kept.older):
                dObj_dIn = kept.program.back(dObj_dOut, True)
                if dObj_dIn is not NotImplemented:
                    return dObj_dIn
        elif kept.__class__ is StackKept and not switch.reasons:
            _answer(self, kept)
            for item, program in reversed(kept.ran):
                dObj_dOut = back_through(item, program, dObj_dOut, True)
            kept.used = True
            return dObj_dOut
        return plain_backward(self, dObj_dOut)

    @functools.wraps(plain_accumulate)
    def accumulate_grads(self: Sequential, dObj_dOut: Any) -> None:
        kept: Any = None if "compute_backward" in vars(self) else self._cache
        if kept.__class__ is Ran and kept.program.layers == self.functions and not switch.reasons:
            if not (kept.used and kept.older) and kept.program.back(dObj_dOut, False) is None:
                return
        elif kept.__class__ is StackKept and not switch.reasons:
            _answer(self, kept)
            first = next((i for i, (item, _) in enumerate(kept.ran) if isinstance(item, Segment) or has_parameters(item)), None)
            if first is not None:
                for item, program in kept.ran[:first:-1]:
                    dObj_dOut = back_through(item, program, dObj_dOut, True)
                item, program = kept.ran[first]
                back_through(item, program, dObj_dOut, False)
            note_answered(item for item, _ in kept.ran[:first])  # all, if none has parameters
            kept.used = True
            return
        plain_accumulate(self, dObj_dOut)

    for method in (compute_forward, compute_backward, accumulate_grads):
        setattr(Sequential, method.__name__, method)
        INSTALLED[method.__name__] = method
    OURS.update({(cls, name): getattr(cls, name) for cls in (Embedding, *LAYERS) for name in METHODS})
