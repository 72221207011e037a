"""`python -m pancake.playground` as a program: its address, its end, and what it does not take."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import pancake

ROOT = Path(pancake.__file__).parent.parent
COMMAND = [sys.executable, "-m", "pancake.playground"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def _hear_ctrl_c():
    """Undo what a program inherits that is started in the background of a shell: there Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(*arguments, cwd=ROOT):
    """The program, and its port, once it has told its address."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_hear_ctrl_c if os.name == "posix" else None,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def asked(port, method, path, body=None, headers=()):
    """The response, open for as long as the block runs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers))
        with connection.getresponse() as response:
            yield response


@pytest.mark.skipif(os.name != "posix", reason="sends Ctrl-C as posix does")
def test_ctrl_c_ends_it_also_with_a_tab_that_is_open():
    with started() as (process, port):
        with asked(port, "GET", "/") as page:
            token = re.search('name="token" content="([^"]+)"', page.read().decode())[1]
        headers = {"Content-Type": "application/json", "X-Playground-Token": token}
        with asked(port, "POST", "/open", "{}", headers) as answer:
            name = re.search('"session": "(.*)"', answer.read().decode())[1]
        with asked(port, "GET", f"/events?session={name}") as events:
            assert events.readline() == b"event: scene\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert not errors


def test_it_listens_on_this_machine_alone():
    with started() as (_, port):
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in {"127.0.0.2", *others} - {"127.0.0.1"}:
            with socket.socket() as other:
                other.settimeout(5)
                assert other.connect_ex((address, port)), address


NETS = """
import pancake as pk

def net(n_in, n_out, rng):
    return pk.Linear(n_in, n_out, rng=rng)

def wide(n_in, n_out, rng):
    return pk.Linear(n_in, 99)

def broken(n_in, n_out, rng):
    raise KeyError("units")

number = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "faulty.py").write_text("1 / 0")
    (tmp_path / "bad.csv").write_text("a,b,c\n1,2,x\n1,two,y\n")
    (tmp_path / "good.csv").write_text("a,b,c\n1,2,x\n1,2,y\n")
    return tmp_path


def test_a_file_and_a_stack_of_ones_own(folder):
    with started("good.csv", "--model", "nets:net", cwd=folder) as (_, port), asked(port, "GET", "/") as page:
        assert page.status == 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bad.csv"], "bad.csv, line 3: expected a finite number in the column 'b', got 'two'"),
        (["none.csv"], "none.csv: No such file or directory"),
        (["."], ".: Is a directory"),
        (["--model", "nets"], "argument --model: expected module:function, got 'nets'"),
        (["--model", "nets:net()"], "argument --model: expected module:function"),
        (["--model", "nets.py:net"], "argument --model: expected module:function, got 'nets.py:net'; leave .py out"),
        (["--model", "nothing:net"], "nothing cannot be imported: ModuleNotFoundError"),
        (["--model", "faulty:net"], "faulty cannot be imported: ZeroDivisionError: division by zero"),
        (["--model", "nets:other"], "argument --model: nets has no other"),
        (["--model", "nets:number"], "argument --model: nets:number is no function, but 3"),
        (["--model", "nets:wide"], "nets:wide(2, 2, rng): expected a stack that takes (N, 2) and returns (N, 2)"),
        (["--model", "nets:broken"], "nets:broken(2, 2, rng) or its forward raised KeyError: 'units'"),
        (["--port", "70000"], "argument --port: expected a number from 0 to 65535, got '70000'"),
        (["--port", "x"], "argument --port: expected a number"),
        (["--open"], "unrecognized arguments: --open"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_end_it_with_one_line(arguments, says, folder, monkeypatch, capsys):
    from pancake.playground.__main__ import main

    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for module in ("nets", "faulty"):
        sys.modules.pop(module, None)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    out, errors = capsys.readouterr()
    assert not out
    assert errors.startswith("python -m pancake.playground: ")
    assert says in errors
    assert errors.count("\n") == 1


def test_a_port_in_use_ends_it_with_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, "--port", str(port)], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"python -m pancake.playground: port {port} cannot be had (Address already in use)")
    assert done.stderr.count("\n") == 1


def test_it_needs_numpy_alone():
    program = "import sys, pancake.playground.__main__; print({'matplotlib', 'scipy', 'hypothesis'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
