"""scikit-learn's `MLPClassifier` and `MLPRegressor`, computed by pancake: `pip install "pancake-nn[sklearn]"`.

A script changes one import::

    from pancake.sklearn import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError('pancake.sklearn needs scikit-learn: pip install "pancake-nn[sklearn]"') from error

from pancake.sklearn.classifier import MLPClassifier
from pancake.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
