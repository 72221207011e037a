"""Training mode and evaluation mode for the time of a run."""

from __future__ import annotations

from pancake.function import Function


class Modes:
    """The mode of every part of a model: as it is in a training, and as it was before.

    A part that the user has put into evaluation mode stays there, since that freezes it. A model that is in evaluation mode
    as a whole has been looked at between two trainings: all of it is switched to training mode.
    """

    def __init__(self, model: Function) -> None:
        self.model = model
        self._before = [(function, vars(function).get("training")) for function in model.walk()]
        self._evaluating = [function for function, _ in self._before if model.training and not function.training]

    def begin(self) -> None:
        """Switch to training mode, if need be: a new attribute makes all others of a Function slower, by 3 % of a small step."""
        evaluating = [function for function, _ in self._before if not function.training]
        if len(evaluating) != len(self._evaluating) or any(function.training for function in self._evaluating):
            self.renew()

    def renew(self) -> None:
        """Switch to training mode in any case."""
        self.model.train()
        for function in self._evaluating:
            function.training = False

    def put_back(self) -> None:
        """Give every part the mode that it had before the run."""
        for function, mode in self._before:
            if mode is None:
                vars(function).pop("training", None)
            else:
                vars(function)["training"] = mode
