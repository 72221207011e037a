"""Pictures of what a net has learnt, through matplotlib: `pip install matplotlib`.

They are drawn as matplotlib's users type: on pyplot's current axes, so that `plt.scatter`, `plt.title`, `plt.savefig` and
`plt.show` after them do what everybody expects, in scripts and in notebooks; what needs several panels makes a figure of
pyplot's. With `ax=`, `axes=` or `figure=` pyplot is not touched.
"""

from pancake.plotting.animation import TrainingAnimation, animate_training
from pancake.plotting.boundary import plot_decision_boundary, show_pred
from pancake.plotting.colors import COLORS
from pancake.plotting.confusion import plot_confusion_matrix
from pancake.plotting.curves import plot_gradients, plot_history, plot_learning_rates
from pancake.plotting.drawing import Drawing
from pancake.plotting.film import Film
from pancake.plotting.hidden import HiddenPlane, plot_hidden_plane
from pancake.plotting.layers import plot_activations, plot_weights
from pancake.plotting.regression import plot_regression

__all__ = [
    "COLORS",
    "Drawing",
    "Film",
    "HiddenPlane",
    "TrainingAnimation",
    "animate_training",
    "plot_activations",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_gradients",
    "plot_hidden_plane",
    "plot_history",
    "plot_learning_rates",
    "plot_regression",
    "plot_weights",
    "show_pred",
]
