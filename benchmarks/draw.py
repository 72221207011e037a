"""Draw the results of run.py as a picture.

    python benchmarks/run.py --json results.json
    python benchmarks/draw.py results.json

For each workload a row, and in it a dot for each library: how many times as long as the hand-written NumPy loop it takes.
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter
from run import LIBRARIES

OUTPUT = Path(__file__).parent / "ratios.png"
STYLES = dict(
    zip(
        LIBRARIES,
        [("tab:orange", "o"), ("tab:brown", "P"), ("tab:blue", "D"), ("tab:red", "s"), ("tab:purple", "^"), ("tab:green", "v")],
        strict=True,
    )
)


def draw(results, output):
    rows = results["rows"]
    figure, ax = plt.subplots(figsize=(10, 1.5 + 0.46 * len(rows)), layout="constrained")
    ax.axvline(1, color="black", linewidth=1, zorder=1)
    for position, (library, (colour, marker)) in enumerate(STYLES.items()):
        shift = 0.12 * (position - (len(STYLES) - 1) / 2)  # so that dots in the same place do not hide one another
        entries = [(y + shift, row["libraries"][library]) for y, row in enumerate(rows) if library in row["libraries"]]
        if not entries:
            continue
        places, ratios = [y for y, _ in entries], [entry["ratio"] for _, entry in entries]
        whiskers = [[e["ratio"] - e["lower"] for _, e in entries], [e["upper"] - e["ratio"] for _, e in entries]]
        ax.errorbar(
            ratios,
            places,
            xerr=whiskers,
            linestyle="none",
            color=colour,
            marker=marker,
            markersize=9 if library == "pancake" else 7,
            markeredgecolor="white",
            label=library,
            zorder=3 if library == "pancake" else 2,
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(plt.FixedLocator([0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks(range(len(rows)), [f"{row['name']}: {row['title']}" for row in rows], fontsize=9)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="x", color="0.9", zorder=0)
    ax.grid(axis="y", color="0.95", zorder=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(which="both", length=0)
    figure.supxlabel("time relative to the hand-written NumPy loop (left is faster), median and quartiles", fontsize=10)
    figure.legend(loc="outside upper center", ncols=len(STYLES), frameon=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    plt.close(figure)


def main(results, output=OUTPUT):
    loaded = json.loads(results.read_text(encoding="utf-8"))
    if not (isinstance(loaded, dict) and loaded.get("rows")):
        raise ValueError(f"{results}: expected results that run.py has written with --json")
    draw(loaded, output)
    print(f"wrote {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("results", type=Path, help="file that run.py has written with --json")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file for the picture: .png, .pdf or .svg")
    try:
        main(**vars(parser.parse_args()))
    except (OSError, ValueError) as error:
        parser.error(str(error))
