"""Pictures of what a net has learnt, through matplotlib: `pip install "pancake-nn[plot]"`.

Without `ax` each function draws on a `Figure` of its own that pyplot knows nothing of: nothing needs a display, nothing has
to be closed, and `plot_decision_boundary(model, X, y).figure.savefig("boundary.png")` is all it takes.
"""

from pancake.plotting.animation import TrainingAnimation, animate_training
from pancake.plotting.boundary import plot_decision_boundary, show_pred
from pancake.plotting.curves import plot_gradients, plot_history, plot_learning_rates
from pancake.plotting.drawing import COLORS, Drawing
from pancake.plotting.layers import plot_activations, plot_weights

__all__ = [
    "COLORS",
    "Drawing",
    "TrainingAnimation",
    "animate_training",
    "plot_activations",
    "plot_decision_boundary",
    "plot_gradients",
    "plot_history",
    "plot_learning_rates",
    "plot_weights",
    "show_pred",
]
