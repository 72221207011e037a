"""Tell penguins whose bill nobody has measured from a table of numbers and names with gaps in it, by scikit-learn's tools.

    python demos/penguin_table.py

The whole table of 344 penguins goes through a ColumnTransformer and one of pancake's estimators, as it would with scikit-learn's
own: cross-validated, with and without class weights, which scikit-learn's own do not take, then tuned by a grid search. Without
the bill a Chinstrap looks much like an Adelie, of which there are twice as many. Drawn is what the tuned net says of penguins
that it has not seen: whom it takes for whom, and what its probabilities are worth. Class weights find more of the rare
Chinstraps, at the price of probabilities that are too high. Where it is most certain, the net without them is too sure as well.
"""

import csv
import importlib.util
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

HERE = Path(__file__).parent
OUTPUT = Path("pictures", "penguin_table.png")
NEEDED = "the estimators need scikit-learn: pip install scikit-learn"
NUMBERS = ["flipper_length_mm", "body_mass_g", "year"]
NAMES = ["sex"]


def load_table():
    """The columns (344, 4) as objects, with nan and None where something is missing, and the species (344,)."""
    with open(HERE / "data" / "penguins_whole.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = [[np.nan if row[name] == "NA" else float(row[name]) for name in NUMBERS] for row in rows]
    names = [[None if row[name] == "NA" else row[name] for name in NAMES] for row in rows]
    return np.hstack([np.array(numbers, object), np.array(names, object)]), np.array([row["species"] for row in rows])


def pipeline(epochs, seed, **options):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from pancake.sklearn import MLPClassifier  # the one line that changes

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = ColumnTransformer([("numbers", numbers, slice(0, 3)), ("names", OneHotEncoder(), slice(3, 4))])
    return make_pipeline(columns, MLPClassifier((16,), max_iter=epochs, learning_rate_init=0.01, random_state=seed, **options))


def main(epochs=200, seed=0, output=OUTPUT, show=False):
    from sklearn.calibration import calibration_curve
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import confusion_matrix, recall_score
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict

    warnings.simplefilter("ignore", ConvergenceWarning)  # how many epochs there are is an option here
    X, y = load_table()
    species = np.unique(y)
    unknown = sum(sex is None for sex in X[:, 3])
    print(f"{len(X)} penguins, {unknown} of unknown sex, {np.isnan(X[:, 0].astype(float)).sum()} not measured")
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)

    print(f"{'the share of each species that is found as such:':<50}" + "  ".join(species))
    for class_weight in (None, "balanced"):
        predicted = cross_val_predict(pipeline(epochs, seed, class_weight=class_weight), X, y, cv=folds)
        shares = zip(recall_score(y, predicted, average=None), species, strict=True)
        print(f"  class_weight={class_weight!s:<35}" + "  ".join(f"{share:>{len(name)}.0%}" for share, name in shares))

    grid = {"mlpclassifier__hidden_layer_sizes": [(8,), (32,)], "mlpclassifier__alpha": [1e-3, 1.0]}
    search = GridSearchCV(pipeline(epochs, seed, class_weight="balanced"), grid, scoring="balanced_accuracy", cv=folds).fit(X, y)
    best = {name.partition("__")[2]: value for name, value in search.best_params_.items()}
    print(f"grid search: {best}, balanced accuracy {search.best_score_:.1%}")

    p = {}
    for class_weight in ("balanced", None):
        tuned = search.best_estimator_.set_params(mlpclassifier__class_weight=class_weight)
        p[class_weight] = cross_val_predict(tuned, X, y, cv=folds, method="predict_proba")
    table = confusion_matrix(y, species[p["balanced"].argmax(axis=1)])

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained", width_ratios=[1, 1.15])
    left.imshow(table / table.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        left.text(column, row, count, ha="center", va="center", color="white" if count > table[row].sum() / 2 else "black")
    left.set(xticks=range(3), yticks=range(3), xticklabels=species, yticklabels=species, xlabel="taken for", ylabel="species")
    left.set_title(f"class weights, but no bill: {table.trace() / table.sum():.0%} of {len(y)} right")
    right.plot([0, 1], [0, 1], color="0.6", linestyle="dashed", label="to be taken at its word")
    for class_weight, colour in ((None, "#0072B2"), ("balanced", "#D55E00")):
        share, said = calibration_curve(y == "Chinstrap", p[class_weight][:, 1], n_bins=5)
        right.plot(said, share, marker="o", color=colour, label=f"class_weight={class_weight!r}")
    right.set(xlabel="probability of a Chinstrap, as the net gives it", ylabel="share that are Chinstraps", title="calibration")
    right.legend()
    finish(figure, output, show)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=lambda _: None if importlib.util.find_spec("sklearn") else NEEDED,
        epochs="at most, of each training",
        seed="of the folds and the nets",
    )
