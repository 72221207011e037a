"""Where an epoch begins: all that its steps change, to go back to."""

from __future__ import annotations

from typing import Any

from pancake import memory
from pancake.optimizers.optimizer import Optimizer
from pancake.training.weights import Weights


class Start:
    """A model and its optimizer as they are now; `go_back` undoes what comes after.

    Within an epoch a schedule may also set the momentum, which brings vectors of state or drops them, or freeze a part, whose
    state then rests. So this comes back before the state does.
    """

    def __init__(self, weights: Weights, optimizer: Any) -> None:
        self.model, self.optimizer = weights.model, optimizer
        self.weights, self._frozen = weights.copy(), weights.frozen
        self._state = optimizer.state_dict() if can_go_back(optimizer) else None
        self._attributes = vars(optimizer).copy() if isinstance(optimizer, Optimizer) else None

    def go_back(self) -> None:
        """Make the model what it was, and the optimizer if it can."""
        for part, frozen in self._frozen:
            if part.frozen != frozen:
                part.frozen = frozen
                memory.arrays_changed()
        self.model.load_state_dict(self.weights)
        if self._attributes is not None:
            # lr, momentum, betas, slots: what the optimizer itself derives from them follows
            settings = {name: value for name, value in self._attributes.items() if value.__class__ in _PLAIN}
            vars(self.optimizer).update((name, value) for name, value in settings.items() if name not in _DERIVED)
            self.optimizer._bind()
        if self._state is not None:
            self.optimizer.load_state_dict(self._state)


_PLAIN = frozenset((bool, int, float, str, tuple))
_DERIVED = "_factors", "_generation"


def can_go_back(optimizer: Any) -> bool:
    """Whether an optimizer, which may be the user's own, has a state to go back to."""
    return hasattr(optimizer, "state_dict") and hasattr(optimizer, "load_state_dict")
