"""Chains of kernels: what the layers of a stretch compute for inputs of one shape, forward and back, as programs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from pancake import memory
from pancake.fast.kernels import Kernel, Lies, LinearKernel
from pancake.fast.left import Left, Ran
from pancake.fast.methods import is_unrolled
from pancake.fast.program import Notes, Owner, Text
from pancake.fast.stretches import Mark, Stretch, dtype_of, kernel_of, key_of, methods_of, time_first
from pancake.functions.containers import has_parameters
from pancake.functions.embedding import Embedding
from pancake.functions.linear import Linear
from pancake.memory import Array

SMALL_PRODUCT = 10**6  # multiplications
FEW_BYTES = 1 << 12  # up to which a comparison with zeros takes half the time of a search


class Chain:
    """The kernels of neighbouring layers for inputs of one shape and dtype, and what their runs leave in the layers.

    Attributes
    ----------
    output : ndarray
        What comes out of the last layer, in the program's own memory; not filled where `fresh` memory was asked for.
    puts_out, result : str
        With `fresh`, the expressions of what comes out, in whatever memory, and as new memory.
    guarded, methods : list
        What must stay the same for the kernels to be those of the layers, as `Notes.unchanged` takes it.
    inside : list of str
        The conditions under which the stacks within the stack hold the same layers.
    owners : list
        The layers and these stacks.
    trained : list of int
        Which of the layers are not frozen.
    numbers : int
        About how many numbers its arrays hold.
    places : list
        Where the layers find what the runs leave, as `remember` has made it.
    latest : Ran
        What the latest run has left in the stack, likewise.
    dropped : weakref
        What lets go of the layers with their model, where nobody else does.
    """

    dropped: Any

    def __init__(
        self, stretch: Stretch, x: Array, notes: Notes, fresh: bool, lent: bool = False, evaluating: bool = False
    ) -> None:
        """Note the forward, a function of `x`, which is `lent` if backward follows at once and nothing is remembered.

        Layers are in the modes that they are in, or all `evaluating`.
        """
        self.layers = layers = stretch.layers
        self.functions, self.inner, self.key = stretch.functions, stretch.inner, key_of(x)
        self.owners = stretch.owners()
        sequences = any(map(is_unrolled, layers))
        leading = x.shape if type(layers[0]) is Embedding else x.shape[:-1]
        # Of large matrices the product of rows with a weight as it lies is the fastest; OpenBLAS takes up to this size as small.
        outputs = next((layer.n_out for layer in layers if type(layer) is Linear), 0)
        by_row = sequences or x.size * outputs > SMALL_PRODUCT
        lies = Lies(leading, dtype_of(layers), sequences or time_first(x), by_row)
        argument: Any = None
        if not (type(layers[0]) in (Linear, Embedding) or is_unrolled(layers[0])):
            argument = lies.new(x.shape[-1])
            notes.put(lies.seen(argument), Text("x"))
        elif lent and x.ndim == 2 and x.dtype == lies.dtype:
            argument = lies.columns(Text("x"))
        self.kernels: list[Any] = []
        for layer in layers:
            training = layer.training and not evaluating
            self.kernels.append(kernel_of(layer, notes, lies, argument, self.kernels, layer is layers[-1], fresh, training))
            lies = self.kernels[-1].lies
        self.trained = [i for i, kernel in enumerate(self.kernels) if has_parameters(kernel.layer)]
        self.lies, kernel = lies, self.kernels[-1]
        self.output = lies.seen(kernel.y)
        self.puts_out = kernel.result if isinstance(kernel, LinearKernel) else notes.name(self.output)
        self.result = self.puts_out if isinstance(kernel, LinearKernel) else f"{self.puts_out}.copy('K')"
        self.looks = self.kernels[0].looks(notes, x)
        self.inside = stretch.looks_inside(notes)
        self.guarded: list[Owner] = [(container, vars(container).keys() - {"training"}) for container, _ in stretch.inner]
        containers = [type(container) for container, _ in stretch.inner]
        self.methods: list[tuple[type, str]] = [(cls, name) for cls in containers for name in methods_of(cls)]
        for kernel in self.kernels:
            owners, methods = kernel.depends_on()
            self.guarded += owners
            if kernel.whole and not evaluating and "training" in vars(kernel.layer):
                self.guarded.append((kernel.layer, ["training"]))
            self.methods += methods
        self.numbers = 2 * sum(kernel.numbers() for kernel in self.kernels)  # backward has about as many

    def note_backward(self, notes: Notes, d: Array, input_too: bool, write: bool) -> str:
        """Note the backward of all layers from d (F, N); the expression of the gradient of the input if it is wanted."""
        first = 0 if input_too else self.trained[0]
        for kernel in reversed(self.kernels[first + 1 :]):
            d = kernel.backward(notes, d, write)
        if not input_too:
            self.kernels[first].accumulate(notes, d, write)
            return "None"
        dObj_dIn = self.kernels[0].backward(notes, d, write)
        return f"{notes.name(self.kernels[0].seen(dObj_dIn))}.copy('K')"

    def saves(self, notes: Notes) -> list[str]:
        """Lines that save what forward changes in the layers, to go before it; see `undo`."""
        return [line for kernel in self.kernels for line in kernel.saves(notes)]

    def undo(self) -> None:
        """Put back what was saved: nothing has run."""
        for kernel in self.kernels:
            kernel.undo()

    def remember(self) -> None:
        """Make ready what runs are to leave in the layers and the stack."""
        of = {id(kernel.layer): Left(self, kernel.kept) for kernel in self.kernels if type(kernel.layer) is not Mark}
        joins = {
            id(kernel.layer.container): kernel for kernel in self.kernels if type(kernel.layer) is Mark and kernel.layer.last
        }
        for container, held in reversed(self.inner):  # the innermost first
            parts = [(part, of[id(part)]) for part in held]
            of[id(container)] = Left(self, functools.partial(_remembered, parts, joins.get(id(container))))
        self.left = [of[id(owner)] for owner in self.owners]
        self.parts = [(function, of[id(function)]) for function in self.functions]
        self.places = [(owner, "_cache", left) for owner, left in zip(self.owners, self.left, strict=True)]
        self.older, self.latest = False, Ran()
        self.latest.program = self

    def let_go(self) -> None:
        """Let layers that somebody keeps hold their own arrays alone. The stack is gone or has other layers: this never runs."""
        for owner, left in zip(self.owners, self.left, strict=True):
            if owner._cache is left:
                left.leave()
        for kernel in self.kernels:
            kernel.lies.pairs.clear()

    def end(self, _: object = None) -> None:
        """Let go, and hold nothing: the stack is gone. What holds itself would else be there until garbage is collected."""
        self.let_go()
        for kernel in self.kernels:
            kernel.layer = None  # what a layer remembers refers to its kernel, which must not refer back to it
        vars(self).clear()

    def taking_over(self, notes: Notes) -> str:
        """A line that leaves in every layer what it is to remember of the coming run.

        It is there already if each of them has what the run before has left, and that has been answered by a backward.
        """
        chain = notes.held(self)
        there = [f"{chain}.latest.used and not {chain}.older", *notes.unchanged([], [], self.places)]
        return f"if not ({' and '.join(there)}): {notes.held(self.take_over)}()"

    def take_over(self) -> None:
        """Leave in every layer what it is to remember of the coming run."""
        for owner, left in zip(self.owners, self.left, strict=True):
            before = owner._cache
            left.older = before is not None and not before.used
            owner._cache = left
        self.older = any(left.older for left in self.left)

    def kept(self) -> tuple[Any, ...]:
        """What the plain stack would remember."""
        return _remembered(self.parts)


def _remembered(parts: list[tuple[Any, Left]], join: Kernel | None = None) -> tuple[Any, ...]:
    """What a plain container remembers: what its branches have put out, if it has any, and what each of its parts remembers."""
    return (*(() if join is None else join.kept()), parts)


class Program(Chain):
    """What a segment computes for inputs of one shape and dtype. Its functions are written when they are needed.

    Attributes
    ----------
    backward : dict of callable
        Functions of dObj_dOut by whether they return the gradient of the input; NotImplemented, and nothing has happened, if
        that is up to the layers.
    forwards : list of (class, name)
        Those of `methods` that forward depends on, settings of classes too.
    answers : dict of callable
        For predictions, see there.
    """

    def __init__(self, stretch: Stretch, x: Array, evaluating: bool = False) -> None:
        notes = Notes()
        super().__init__(stretch, x, notes, True, evaluating=evaluating)
        self.remember()
        self.grads = gradient_bits(self.kernels)
        self.forwards = [(cls, name) for cls, name in self.methods if name not in ("compute_backward", "accumulate_grads")]
        self.notes, self.conditions = notes, self.looks_at(notes, x)
        self.answers: dict[tuple[int, int], Callable[[Any], Any]] = {}
        self.backs = Notes()  # what backward needs as it is now
        backwards = [method for method in self.methods if method not in self.forwards]
        self.unchanged = [*stretch.looks_inside(self.backs), *self.backs.unchanged(self.guarded, backwards, self.places)]
        self.backward: dict[bool, Callable[[Any], Any]] = {
            input_too: functools.partial(self._begin, input_too) for input_too in (False, True)
        }
        self.adding: dict[bool, Callable[[Any], Any]] = {}

    def looks_at(self, notes: Notes, x: Array) -> list[str]:
        """The conditions under which an argument looks like x, and all that forward depends on is still the same."""
        array, shape, dtype = map(notes.held, (np.ndarray, x.shape, x.dtype))
        looks = [f"x.__class__ is {array} and x.shape == {shape} and x.dtype == {dtype}", *self.looks]
        if x.ndim == 3:
            looks.append(f"{notes.held(key_of)}(x) == {notes.held(key_of(x))}")
        # A Linear's gradients are up to backward; what a cell's steps remember has the arrays of its gradients, too.
        owners = [
            (owner, [name for name in names if not (isinstance(owner, Linear) and name.startswith("grad_"))])
            for owner, names in self.guarded
        ]
        return [*looks, *self.inside, *notes.unchanged(owners, self.forwards)]

    @functools.cached_property
    def forward(self) -> Callable[[Any, bool], Any]:
        """A function of x and of whether the stack waits for the backward of an older forward, after which `latest` is new.

        None, and nothing has happened, if x does not look like the input that the program was made for, or something that
        forward depends on has changed: that is up to the layers.
        """
        notes = self.notes
        me = notes.held(self)
        ran = [f"ran = {notes.held(Ran)}()", f"ran.program = {me}", "if older: ran.older = True", f"{me}.latest = ran"]
        lines = [self.taking_over(notes), *notes.lines, f"out = {self.result}", *ran]
        return notes.write("x, older", "out", self.conditions, lines=lines, undo=self.forget)

    @functools.cached_property
    def fits(self) -> Callable[[Any], bool]:
        """Whether forward would be done: for predictions, of which the layers do not hear."""
        return self.notes.write("x", "True", self.conditions, "False", lines=[])

    @functools.cached_property
    def fill(self) -> Callable[[Any, Any], None]:
        """Write the output into an array: a function of x and that array, without a look at either."""
        return self.notes.write("x, out", lines=[*self.notes.lines, f"out[...] = {self.puts_out}"])

    def forget(self) -> None:
        """Let the layers remember nothing, after a forward that did not come through."""
        for owner in self.owners:
            owner._cache = None

    def refuses(self) -> bool:
        """Whether a layer refuses a backward, since it would be the second after two forwards."""
        return any(left.older and left.used for left in self.left)

    @functools.cached_property
    def intact(self) -> Callable[[], bool]:
        """Whether all that backward depends on is still the same."""
        return self.backs.write("", "True", self.unchanged, "False")

    def _begin(self, input_too: bool, d: Any) -> Any:
        """The first backward: written now, if nothing that it would be made from has been exchanged, which may be put back."""
        if not self.intact() or not (input_too or self.trained):
            return NotImplemented
        other = f"{self.backs.held(self._add)}({input_too}, d)"
        self.backward[input_too] = self._write_backward(input_too, self.grads is not None, other)
        return self.backward[input_too](d)

    def _add(self, input_too: bool, d: Any) -> Any:
        """Backward with products that are added to gradients, which are not zero, or for another d than the program takes."""
        if not self.intact() or (self.older and self.refuses()):
            return NotImplemented
        if d.__class__ is not np.ndarray or d.shape != self.output.shape or d.dtype != self.lies.dtype:
            d = self.layers[-1]._upstream(d, self.output.shape, self.lies.dtype)
        if input_too not in self.adding:
            self.adding[input_too] = self._write_backward(input_too, False, "NotImplemented")
        return self.adding[input_too](d)

    def _write_backward(self, input_too: bool, write: bool, otherwise: str) -> Callable[[Any], Any]:
        """The function of dObj_dOut; with `write` products are written into gradients that are zero instead of added."""
        notes = self.backs.copy()
        d: Any = Text("d")
        me, array, shape, dtype = map(notes.held, (self, np.ndarray, self.output.shape, self.lies.dtype))
        looks = [_all_zero(notes, bits) for bits in (self.grads or [] if write else [])]
        looks.append(f"d.__class__ is {array} and d.shape == {shape} and d.dtype == {dtype}")
        looks += [f"not ({me}.older and {me}.refuses())", *self.unchanged]
        result = self.note_backward(notes, self.lies.columns(d), input_too, write)
        return notes.write("d", result, looks, otherwise, lines=[*notes.lines, f"{me}.latest.used = True"])


def _all_zero(notes: Notes, bits: Array) -> str:
    """The expression whether no byte is other than 0."""
    if bits.size <= FEW_BYTES:
        return f"{notes.name(bits.tobytes)}() == {notes.held(bytes(bits.size))}"
    return f"not {notes.name(bits.item)}({notes.name(bits.argmax)}())"


def gradients_apart(pairs: list[memory.Pair]) -> bool:
    """Whether each parameter has memory of its own, and its gradient too.

    Where two layers share a gradient, the second must add to what the first has written; of two gradients of one parameter an
    optimizer sees the first.
    """
    for arrays in zip(*pairs, strict=True):
        bounds = sorted(map(byte_bounds, arrays))
        if any(later[0] < earlier[1] for earlier, later in itertools.pairwise(bounds)):
            return False
    return True


def gradient_bits(kernels: list[Kernel]) -> list[Array] | None:
    """The gradients that kernels may write, in few vectors, as truths of their bytes, which are false only in a 0.

    Where all are zero, products are written into them instead of added. None where that cannot be.
    """
    pairs = [(kernel, pair) for kernel in kernels for pair in zip(*kernel.layer.get_params_and_grads(), strict=True)]
    if not gradients_apart([pair for _, pair in pairs]):
        return None
    written = [pair for kernel, pair in pairs if kernel.writes]
    runs = memory.runs([value for value, _ in written], [grad for _, grad in written])
    if not all(run.grads.ndim == 1 and run.grads.flags.c_contiguous for run in runs):
        return None
    return [run.grads.view(np.bool) for run in runs]
