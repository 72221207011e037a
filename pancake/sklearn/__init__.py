"""scikit-learn's `MLPClassifier` and `MLPRegressor`, computed by pancake: `pip install scikit-learn`.

A script changes one import::

    from pancake.sklearn import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError("pancake.sklearn needs scikit-learn: pip install scikit-learn") from error

from pancake.sklearn.classifier import MLPClassifier
from pancake.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
