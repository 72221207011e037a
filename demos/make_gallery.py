"""Run the demos, and write the page that shows their pictures.

    python demos/make_gallery.py                all of them, which takes a while
    python demos/make_gallery.py xor digits     only these; the page is written anew

The page is demos/gallery/README.md: for each demo its first sentence, how long it took, its commands, and its picture, or what it
printed.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
GALLERY = HERE / "gallery"
PAGE = GALLERY / "README.md"
SECONDS = GALLERY / "seconds.json"
CHAPTERS = {
    "First steps": ["chain_rule", "perceptron", "xor", "check_your_layer"],
    "Boundaries": ["boundaries", "animation", "architectures", "penguins", "penguin_table", "digits", "lenet", "regression"],
    "How nets learn": ["optimizers", "initialisation", "regularisation", "resume", "full_batch", "sweep"],
    "Sequences": ["memory", "babi", "names", "gpt", "sunspots"],
    "Elsewhere": ["microcontroller"],
}
DEMOS = [name for names in CHAPTERS.values() for name in names]


def entry(name):
    """The part of the page that is about one demo."""
    sentence, _, rest = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))).partition("\n")
    commands = [line.strip() for line in rest.splitlines() if line.strip().startswith("python demos/")]
    took = f" Takes about {durations()[name]} s." if name in durations() else ""
    lines = [f"### [{name}.py](../{name}.py)", "", sentence + took, "", "```bash", *commands, "```", ""]
    pictures = [path for path in (GALLERY / f"{name}.png", GALLERY / f"{name}.gif") if path.exists()]
    printed = GALLERY / f"{name}.txt"
    lines += [f"![{sentence}]({picture.name})" for picture in pictures]
    lines += ["```text", printed.read_text(encoding="utf-8").strip(), "```"] if printed.exists() else []
    return [*lines, ""]


def durations():
    """How many seconds each demo took, by its name."""
    return json.loads(SECONDS.read_text(encoding="utf-8")) if SECONDS.exists() else {}


def page():
    lines = [
        "# Gallery",
        "",
        "What the demos draw, into a folder `pictures`. `python demos/make_gallery.py` runs all of them and",
        "writes this page; the durations are seconds of one processor core, in that run.",
        "",
    ]
    for chapter, names in CHAPTERS.items():
        lines += [f"## {chapter}", ""]
        for name in names:
            lines += entry(name)
    return "\n".join(lines)


def worked():
    """The seconds that processes started here have computed, whatever else runs; on Windows those that have passed."""
    times = os.times()
    return times.children_user + times.children_system if os.name == "posix" else times.elapsed


def run(name):
    """Run a demo with its defaults, and note how long it takes; if it draws no picture, keep what it prints."""
    path = HERE / f"{name}.py"
    draws = re.search(r'OUTPUT = Path\("pictures", "(.+)"\)', path.read_text(encoding="utf-8"))
    command = [sys.executable, str(path), *(["--output", str(GALLERY / draws[1])] if draws else [])]
    environment = {**os.environ, "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
    begin = worked()
    done = subprocess.run(command, env=environment, stdout=None if draws else subprocess.PIPE, text=True)
    if done.returncode:
        return False
    took = {**durations(), name: max(round(worked() - begin), 1)}
    SECONDS.write_text(json.dumps(dict(sorted(took.items())), indent=1) + "\n", encoding="utf-8")
    if not draws:
        print(done.stdout)
        (GALLERY / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
    return True


def main(demos=()):
    failed = []
    for number, name in enumerate(demos := demos or DEMOS, start=1):
        print(f"--- {name}, {number} of {len(demos)}", flush=True)
        if not run(name):
            failed.append(name)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("demos", nargs="*", metavar="demo", help=f"which (default: all): {', '.join(DEMOS)}")
    options = parser.parse_args()
    unknown = [name for name in options.demos if name not in DEMOS]
    if unknown:
        parser.error(f"expected names of demos, such as {DEMOS[0]}, got {', '.join(unknown)}")
    try:
        failed = main(**vars(options))
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    if failed:
        parser.exit(1, f"failed: {', '.join(failed)}\n")
