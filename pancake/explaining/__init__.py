"""One forward and one backward of somebody's own net, explained: as text, as a table, as a picture and as a derivation."""

from pancake.explaining.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
