"""`python -m pancake.playground [data.csv] [--model module:function] [--port N]`: a page on which pancake trains."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pancake.playground.server import ADDRESS, Server
from pancake.playground.table import read_table
from pancake.playground.trainer import Make, Trainer

PORT = 8765


class Parser(argparse.ArgumentParser):
    """Bad arguments end the program with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C; return the exit status."""
    parser = Parser(prog="python -m pancake.playground", description="A page in the browser on which pancake trains a net.")
    parser.add_argument("data", nargs="?", help="a CSV file: one header line, features first, the label last")
    parser.add_argument("--model", metavar="MODULE:FUNCTION", help="function(n_in, n_out, rng) that returns the stack to train")
    parser.add_argument("--port", type=_port, default=PORT, help=f"{PORT} by default; 0 for any that is free")
    given = parser.parse_args(arguments)
    try:
        table = read_table(given.data) if given.data else None
        make = _function(given.model) if given.model else None
        Trainer(table, make, given.model or "")  # what cannot be trained is told here, not on the page
        server = Server(given.port, lambda: Trainer(table, make, given.model or ""))
    except OSError as error:
        if error.filename is None:
            parser.error(f"port {given.port} cannot be had ({error.strerror}); choose another, or --port 0 for any that is free")
        parser.error(f"{error.filename}: {error.strerror}")
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    try:
        print(f"http://{ADDRESS}:{server.server_port}/  (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, got {text!r:.40}")
    return int(text)


def _function(name: str) -> Make:
    """The function that `module:function` names."""
    module, _, function = name.partition(":")
    if module.endswith(".py"):
        raise ValueError(f"argument --model: expected module:function, got {name!r}; leave .py out")
    if not all(part.isidentifier() for part in [*module.split("."), function]):
        raise ValueError(f"argument --model: expected module:function, got {name!r}")
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except AttributeError:
        raise ValueError(f"argument --model: {module} has no {function}") from None
    except Exception as error:
        raise ValueError(f"argument --model: {module} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"argument --model: {name} is no function, but {found!r:.80}")
    return found


if __name__ == "__main__":
    sys.exit(main())
