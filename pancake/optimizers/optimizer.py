"""Optimizers: what to do with a gradient.

A rule is written for one long vector of parameters. `Optimizer` finds the vectors: parameters that lie side by side in
memory are one, so a step costs the same number of NumPy calls for two layers and for two hundred.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pancake import memory
from pancake.arguments import matching, number, refuse_foreign_arguments
from pancake.function import Function, need_functions
from pancake.memory import Array
from pancake.optimizers.settings import FOREIGN_RATES, ForeignRate, setting
from pancake.origin import is_own
from pancake.tree import noted

if TYPE_CHECKING:
    from pancake.optimizers.ranks import Ranks

# Long vectors are updated in pieces that stay in cache from the first operation of a rule to the last. The five of Adam fill
# 2.5 MB in float32; of 6 million parameters pieces of a quarter of that cost 5 to 10 % more, and no pieces at all 40 %.
CHUNK = 1 << 17


def _model_of(optimizer: Optimizer, _: str, value: Any) -> Function | Sequence[Function]:
    """What is trained from now on; `_follow` finds its parameters."""
    name = type(optimizer).__name__
    functions = need_functions(name, value)
    if not functions:
        raise TypeError(f"{name}: expected a Function or a list of Functions, got an empty one")
    optimizer._generation = -1
    return value if isinstance(value, Function) else functions


class Optimizer:
    """Gradient descent, p <- p - lr grad_p, and the base class of the other optimizers.

    A subclass names the vectors of its state in `slots`, computes in `factors` what is the same for all parameters of a
    step, and changes a vector of parameters in `update`.

    Parameters
    ----------
    model : Function or list of Function
        Whose parameters to train. A parameter that is reached twice is stepped once.
    lr : float
        The learning rate, at least 0. As all settings of the library's optimizers, it may be set anew at any time.

    Attributes
    ----------
    steps : int
        How many steps have been made.
    history : History or None
        What `fit` has noted of the training.

    References
    ----------
    Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées" (1847).
    """

    slots: tuple[str, ...] = ()

    _lr: float
    _model: Function | Sequence[Function]
    lr = setting("lr", number)
    model = setting("model", _model_of)

    ranks: Ranks | None = None  # the processes that train the model together, see `pancake.mpi`

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        refuse_foreign_arguments(cls, args, kwargs)
        return super().__new__(cls)

    def __init__(self, model: Function | Sequence[Function], lr: float = 0.01) -> None:
        self.model = model
        self.lr = lr
        self.steps = 0
        self.history: Any = None
        self._state: dict[str, Array] = {}  # as in `state_dict`
        self._resting: dict[int, tuple[Array, dict[str, Array]]] = {}  # the state of parameters that are frozen, by id
        self._watched: list[tuple[Function, list[Any]]] = []
        self._every: list[Array] = []  # all parameters, frozen ones too
        self._numbers: list[int] = []  # where those that are trained stand among them
        self._params: list[Array] = []
        self._param_grads: list[Array] = []
        self._places: list[tuple[dict[str, Any], str, Any, list[Any] | None]] = []
        self._factors: tuple[float, ...]
        self._bind()
        if not self._params:
            frozen = any(part.frozen for function in self._functions() for part in function.walk())
            hint = "; what is frozen is not trained, see `freeze`" if frozen else ""
            raise ValueError(f"{type(self).__name__}: {model!r} has no parameters to train{hint}")

    def zero_grad(self) -> None:
        """Set all gradients to 0."""
        if self._generation != memory.generation or self._watched or self._exchanged():
            self._follow()
        for zeroed in self._zeroed:
            zeroed.fill(0)
        if self.ranks is not None:
            self.ranks.begin()

    def step(self) -> None:
        """Change all parameters by their gradients."""
        if self._generation != memory.generation or self._watched or self._exchanged():
            self._follow()
        if self.ranks is None:
            self._advance()
            return
        self.ranks.join()
        self._advance()
        self.ranks.end()

    def _advance(self) -> None:
        """Make a step with the parameters that are known."""
        self.steps += 1
        factors = self.factors()
        for i, factor in enumerate(factors):
            if factor != self._factors[i]:
                for cells in self._cells:
                    cells[i][()] = factor
                    if factor > 0 and not cells[i]:  # a number that the dtype cannot hold: 1e-8 in float16, say
                        cells[i][()] = np.finfo(cells[i].dtype).smallest_subnormal
        self._factors = factors
        for piece in self._pieces:
            self.update(*piece)

    def factors(self) -> tuple[float, ...]:
        """The factors of this step, which `update` receives as 0-d arrays of the dtype of the parameters."""
        return (self._lr,)

    def update(self, p: Array, g: Array, work: Array, *args: Array) -> None:
        """Change parameters p by their gradients g, both vectors; `work` is a vector to compute in.

        In `args` are the vectors of state, in the order of `slots`, and the factors that `factors` returned.
        """
        (lr,) = args
        np.multiply(g, lr, work)
        p -= work

    def state_dict(self) -> dict[str, Any]:
        """lr, the number of steps, and copies of the state: `"momentum_buffer.0"` is that of the first parameter.

        Parameters that are frozen are counted; their state, if they have been trained, is that with which they go on.
        """
        self._follow()
        return {"lr": self.lr, "steps": self.steps, **{name: array.copy() for name, array in self._whole_state().items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to the state of a `state_dict`; the next steps are those that would have followed it.

        Raises
        ------
        ValueError
            If an entry is missing, unexpected or of another shape: all are listed, and nothing is changed. Those of frozen
            parameters may be missing: they have not been trained before.
        """
        self._follow()
        given = state if isinstance(state, Mapping) else {}
        trained = set(self._numbers)
        frozen = [(i, p) for i, p in enumerate(self._every) if i not in trained]
        with_state = [(i, p) for i, p in frozen if any(f"{slot}.{i}" in given for slot in self.slots)]
        resting = {f"{slot}.{i}": p for slot in self.slots for i, p in with_state}
        own = {"lr": np.asarray(self.lr), "steps": np.asarray(self.steps), **self._state, **resting}
        new = matching(self, own, state)
        lr, steps = number(self, "lr", new["lr"]), number(self, "steps", new["steps"])
        self.lr, self.steps = lr, int(steps)
        for name, array in self._state.items():
            array[...] = new[name]
        for i, p in frozen:
            self._resting[id(p)] = p, {slot: new[f"{slot}.{i}"] for slot in self.slots if f"{slot}.{i}" in resting}

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the constructor after the model, as they are now."""
        names = [name for name in inspect.signature(type(self).__init__).parameters if name not in ("self", "model")]
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self._arguments().items()
            if name == "lr" or repr(value) != repr(parameters[name].default)
        ]
        return f"{type(self).__name__}({', '.join([repr(self.model), *changed])})"

    # --- finding the parameters ---

    def _gradients(self) -> list[Array]:
        """The gradients of all parameters that are trained, each once."""
        self._follow()
        return self._param_grads

    def _functions(self) -> Sequence[Function]:
        return [self._model] if isinstance(self._model, Function) else self._model

    def _collect(self) -> tuple[list[Array], list[Array]]:
        """All parameters, each once, and their gradients."""
        found: dict[int, memory.Pair] = {}
        for function in self._functions():
            for value, grad in function._trained():
                if not (_is_float(value) and _is_float(grad) and value.shape == grad.shape):
                    raise TypeError(
                        f"{type(self).__name__}: expected every parameter and its gradient to be float arrays of one shape, got "
                        f"{_describe(value)} with the gradient {_describe(grad)} in {function!r}"
                    )
                found.setdefault(id(value), (value, grad))
        return [value for value, _ in found.values()], [grad for _, grad in found.values()]

    def _follow(self) -> None:
        """Look for the parameters again if they may have changed: after astype, add, a copy, or in a user's own Function."""
        if self._generation != memory.generation or self._exchanged() or (self._watched and self._rebound()):
            self._bind()

    def _exchanged(self) -> bool:
        """Whether a part of the library's own containers has been exchanged."""
        for attributes, name, value, parts in self._places:  # a loop, since each step passes here
            if name not in attributes or attributes[name] is not value or (parts is not None and value != parts):
                return True
        return False

    def _rebound(self) -> bool:
        return any(_changed(held, part._holdings()) for part, held in self._watched)

    def _watch(self) -> None:
        """Note how the model is now, so that `_follow` finds out what has been exchanged since."""
        self._generation = memory.generation
        # Arrays of pancake's own Functions change only with a new generation; a user's Function may do as it likes.
        trees = {id(tree): tree for function in self._functions() for tree in function.walk()}
        self._places, self._watched = [], []
        for tree in trees.values():
            exchangeable = _places_of(tree) if is_own(tree) else []
            self._places += exchangeable
            count = sum(1 if functions is None else len(functions) for *_, functions in exchangeable)
            if not is_own(tree) or count < len(tree._parts()):  # the others are in a dict, say, which somebody has set
                self._watched.append((tree, tree._holdings()))

    def _whole_state(self) -> dict[str, Array]:
        """The state of all parameters that have any, in their order; that of frozen ones too."""
        states = [self._state_of(i) for i in range(len(self._every))]
        return {f"{slot}.{i}": state[slot] for slot in self.slots for i, state in enumerate(states) if slot in state}

    def _bind(self) -> None:
        """Find the long vectors, and lay out the state beside them."""
        params, grads = self._collect()
        every = {id(p): p for function in self._functions() for p, _ in function._listed()}
        every.update((id(p), p) for p in params)
        places = {key: i for i, key in enumerate(every)}
        numbers = [places[id(p)] for p in params]
        exchanged = self._exchanges()
        self._watch()
        names = [f"{slot}.{i}" for slot in self.slots for i in numbers]  # momentum may have come or gone
        now = [*every.values(), *params, *grads]
        if self._params and names == list(self._state) and not _changed([*self._every, *self._params, *self._param_grads], now):
            return
        known = self._known_state(list(every.values()), exchanged)
        trained = set(map(id, params))
        self._resting = {
            key: (param, {slot: vector.copy() for slot, vector in of_param.items()})
            for key, (param, of_param) in known.items()
            if key in every and key not in trained
        }
        self._every, self._numbers = list(every.values()), numbers
        self._params, self._param_grads = params, grads
        runs = memory.runs(params, grads)
        self._grads = [run.grads for run in runs]
        # of an array of bytes NumPy makes one call of memset, of floats a loop
        self._zeroed = [grads.view(np.uint8) if grads.flags.c_contiguous else grads for grads in self._grads]
        self._state = dict.fromkeys(names, np.empty(0))
        self._pieces = []
        self._cells = []  # for each dtype, the factors as 0-d arrays
        self._factors = (math.nan,) * len(self.factors())  # what they hold
        for dtype in dict.fromkeys(run.values.dtype for run in runs):
            cells = [np.empty((), dtype) for _ in self._factors]
            self._cells.append(cells)
            for run in (run for run in runs if run.values.dtype == dtype):
                vectors = [np.zeros_like(run.values) for _ in self.slots]
                for slot, vector in zip(self.slots, vectors, strict=True):
                    for index, part in run.split(vector, params):
                        self._state[f"{slot}.{numbers[index]}"] = part
                        if id(params[index]) in known:
                            part[...] = known[id(params[index])][1].get(slot, 0)
                self._pieces += [(*piece, *cells) for piece in _pieces(run.values, run.grads, vectors)]

    def _exchanges(self) -> dict[int, Array]:
        """By the id of an array that a user's Function has held: the one of its shape that it holds in its place now."""
        found = {}
        for part, held in self._watched:
            for before, now in zip(held, part._holdings(), strict=False):
                if isinstance(before, np.ndarray) and isinstance(now, np.ndarray) and before.shape == now.shape:
                    found[id(before)] = now
        return found

    def _known_state(self, every: list[Array], exchanged: dict[int, Array]) -> dict[int, tuple[Array, dict[str, Array]]]:
        """What is known so far of the state of parameters, by id; what is frozen goes on from there when it learns again."""
        ids = set(map(id, every))
        known: dict[int, tuple[Array, dict[str, Array]]] = {}
        for i, param in enumerate(self._every or every):  # a copy has the same ones in the same order
            now = memory.current(param)
            if id(now) not in ids:
                now = exchanged.get(id(param), now)
            known.setdefault(id(now), (now, self._state_of(i)))
        return known

    def _state_of(self, i: int) -> dict[str, Array]:
        """The state of a parameter, as far as there is any."""
        resting = self._resting.get(id(self._every[i]), (None, {}))[1] if self._every else {}
        vectors = {slot: self._state.get(f"{slot}.{i}", resting.get(slot)) for slot in self.slots}
        return {slot: vector for slot, vector in vectors.items() if vector is not None}

    def _keep(self, slot: str, wanted: bool) -> None:
        """Begin a vector of state, as zeros, or drop it."""
        others = tuple(other for other in self.slots if other != slot)
        self.slots = (*others, slot) if wanted else others
        if hasattr(self, "_pieces"):  # else the constructor has yet to bind them
            self._bind()

    def __getstate__(self) -> dict[str, Any]:
        self._follow()
        derived = {"_resting", "_every", "_numbers", "_params", "_param_grads", "_grads", "_zeroed", "_pieces", "_cells"}
        derived |= {"_factors", "_watched", "_places", "ranks"}
        kept = {name: value for name, value in vars(self).items() if name not in derived}
        return {**kept, "_state": self._whole_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(
            state, _resting={}, _every=[], _numbers=[], _params=[], _param_grads=[], _watched=[], _places=[], _generation=-1
        )
        if all(vars(function) for function in self._functions()):  # else the model, which holds this, is not yet complete
            self._bind()


for _name in FOREIGN_RATES:
    setattr(Optimizer, _name, ForeignRate(_name))


def _places_of(tree: Function) -> list[tuple[dict[str, Any], str, Any, list[Any] | None]]:
    """The attributes that are parts or lists of parts, which anybody may exchange, with the parts that are in these lists."""
    return [
        (vars(tree), name, value, noted(value) if isinstance(value, list) else None)
        for name, value in vars(tree).items()
        if isinstance(value, Function) or (isinstance(value, list) and all(isinstance(part, Function) for part in value))
    ]


def _changed(before: Sequence[object], now: Sequence[object]) -> bool:
    return len(before) != len(now) or not all(map(operator.is_, before, now))


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _describe(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)


def _pieces(values: Array, grads: Array, state: list[Array]) -> Iterator[list[Array]]:
    """What `update` takes, in pieces of CHUNK that share one work vector; arrays with gaps in memory stay whole."""
    if values.ndim != 1:
        yield [values, grads, np.empty_like(values), *state]
        return
    work = np.empty_like(values[:CHUNK])
    for start in range(0, values.size, CHUNK):
        part = slice(start, start + CHUNK)
        yield [values[part], grads[part], work[: len(values[part])], *(vector[part] for vector in state)]
