"""What the demos share: options from the arguments of `main`, a folder for the picture, and a clean end.

A demo ends with `run(main, __doc__, epochs="what --epochs is")`. Names, kinds and defaults of the options are those of `main`.
"""

import argparse
import inspect
import json
import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt

SECONDS = Path(__file__).parent / "gallery" / "seconds.json"  # how long each demo took when the gallery was made


def run(main, doc, *, check=None, suffixes=(".png", ".pdf", ".svg"), **helps):
    """Call `main` with the options of the command line.

    `helps` has a text for each argument of `main`, or a dict of what `add_argument` is to know beside it; `check(options)` may
    return what is wrong with them. Whole numbers are at least 1, --seed at least 0, --lr more than 0 and --noise at least 0.
    """
    parser = argparse.ArgumentParser(description=describe(doc), formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    defaults = {name: parameter.default for name, parameter in inspect.signature(main).parameters.items()}
    for name, text in helps.items():
        more = dict(text) if isinstance(text, dict) else {"help": text}
        default = defaults[name]
        kind = {"type": type(default)} if isinstance(default, (int, float)) else {}
        if isinstance(default, tuple):
            kind, default = {"type": int, "nargs": "*"}, list(default)
        positional = more.pop("positional", None)
        parser.add_argument(f"--{name}" if positional is None else name, default=default, **kind, **(positional or {}), **more)
    if "output" in defaults:
        parser.add_argument("--output", type=Path, default=defaults["output"], help=f"file to write: {', '.join(suffixes)}")
        parser.add_argument("--show", action="store_true", help="show it as well")
    options = parser.parse_args()
    problem = next((text for name, value in vars(options).items() if (text := wrong(name, value))), None)
    if problem is None and "output" in defaults and options.output.suffix not in suffixes:
        problem = f"expected --output to end in {', '.join(suffixes)}, got {options.output}"
    if problem is None and check is not None:
        problem = check(options)
    if problem is not None:
        parser.error(problem)
    try:
        main(**vars(options))
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped\n")
    except BrokenPipeError:  # as of `| head`
        parser.exit(1)
    except OSError as error:
        parser.error(str(error))


def describe(doc):
    """The first line of the docstring, and how long it takes."""
    seconds = json.loads(SECONDS.read_text(encoding="utf-8")) if SECONDS.exists() else {}
    took = seconds.get(Path(sys.argv[0]).stem)
    return doc.split("\n")[0] + (f" Takes about {took} s." if took else "")


def wrong(name, value):
    """What is wrong with the value of an option, or None."""
    least = {"seed": 0, "noise": 0}.get(name, 1)
    if name == "lr":
        return None if 0 < value < math.inf else f"expected --lr of more than 0, got {value}"
    if name == "noise" and value is not None and not 0 <= value < math.inf:
        return f"expected --noise of at least 0, got {value}"
    for number in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(number, int) and not isinstance(number, bool) and number < least:
            return f"expected --{name} of at least {least}, got {number}"
    return None


def finish(figure, output, show, dpi=100):
    """Write the picture, making its folder if need be, say where it is, and show it if that was asked for."""
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=dpi)
    print(f"wrote {output}")
    if show:
        plt.show()
    plt.close(figure)
