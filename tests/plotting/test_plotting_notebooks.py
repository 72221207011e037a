"""Pictures in a notebook, run by a real kernel: shown once, also in loops and as a cell's last line; films play."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

import pancake

nbformat = pytest.importorskip("nbformat", reason="notebooks are run by nbclient: pip install nbclient ipykernel")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="notebooks are run by nbclient: pip install nbclient ipykernel")

CELLS = {
    "ready": """
%matplotlib inline
import matplotlib.pyplot as plt
import pancake as pk
X, y = pk.datasets.moons(40, rng=0)
model = pk.mlp([2, 4, 2], rng=0)
one = pk.Sequential([pk.Linear(2, 1, rng=0), pk.Sigmoid()])
optimizer = pk.Adam(model)""",
    "last line": "pk.plot_decision_boundary(model, X, y)",
    "show_pred as the last line": "pk.show_pred(one)",
    "show_pred without show, and points": "pk.show_pred(one, show=False)\nplt.scatter(*X.T, c=y)",
    "with a name": "drawn = pk.plot_decision_boundary(model, X, y)",
    "a loop that shows": "for r in (1, 2, 3):\n    pk.show_pred(one, r)",
    "a loop of figures": "for _ in range(2):\n    plt.figure()\n    pk.plot_decision_boundary(model, X, y)",
    "subplots": "figure, axes = plt.subplots(1, 2)\npk.plot_decision_boundary(model, X, y, ax=axes[0])",
    "panels": "pk.plot_weights(model)",
    "own figure": "from matplotlib.figure import Figure\npk.plot_weights(model, figure=Figure())",
    "history": "pk.plot_history({'loss': [2, 1], 'accuracy': [0, 1]})",
    "film": "film = pk.animate_training(model, X, y, resolution=20)\nfor loss in (2, 1):\n    film(loss)\nfilm",
    "hidden plane": "pk.plot_hidden_plane(pk.mlp([2, 2, 2], rng=0), X, y)",
    "fit": "pk.fit(model, pk.CrossEntropy(), optimizer, X, y, epochs=3, rng=0, validation=0.2, progress=False)",
    "model": "model",
    "history by name": "optimizer.history",
    "explain": "pk.explain(model, pk.CrossEntropy(), X[:3], y[:3])",
}
PICTURES = dict.fromkeys(CELLS, 1) | {
    "ready": 0,
    "a loop that shows": 3,
    "a loop of figures": 2,
    "film": 0,
    "fit": 0,
    "model": 0,
}
PICTURES |= {"history by name": 0, "explain": 0}
HTML = {"film": "<script", "fit": "<svg", "model": "<table", "history by name": "<svg", "explain": "<table"}


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[Any]]:
    """What each cell of one notebook shows."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    root = str(Path(pancake.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root + os.pathsep + os.environ.get("PYTHONPATH", "")}
    environment.pop("MPLBACKEND", None)
    nbclient.NotebookClient(notebook, timeout=120).execute(env=environment)
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells), strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_a_notebook_shows_each_picture_once(outputs: dict[str, list[Any]], name: str) -> None:
    data = [output.get("data", {}) for output in outputs[name]]
    pictures = [base64.b64decode(entry["image/png"]) for entry in data if "image/png" in entry]
    assert len(pictures) == PICTURES[name]
    assert all(len(picture) > 2000 for picture in pictures), "a blank picture"
    assert not [output for output in outputs[name] if output.output_type == "stream"]
    shown = "".join(entry.get("text/html", "") for entry in data)
    assert HTML.get(name, "") in shown
    assert bool(shown) == (name in HTML)
