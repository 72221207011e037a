"""`check`: each exercise in a process of its own, on scripts, notebooks, and the folders of one participant or of many."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workshop_tables import solution

from pancake.workshop.__main__ import main
from pancake.workshop.check import all_right, as_text, check
from pancake.workshop.isolation import judged
from pancake.workshop.lesson import lesson

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as end:
            status = int(str(end.code))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def wrong(number: int, old: str, new: str) -> str:
    script = lesson(number).script(with_solutions=True)
    assert old in script
    return script.replace(old, new)


def test_one_line_for_each_exercise_and_the_exit_status(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "lesson_02.py"
    path.write_text(lesson(2).script())
    status, out, _ = run("check", path)
    assert status == 1
    assert out.splitlines()[0] == (
        "lesson  2  Square  open   compute_forward, line 46 (remember x, and return its square); "
        "compute_backward, line 49 (the gradient of the input, shaped like x)"
    )
    assert out.splitlines()[-1] == "0 right, 0 wrong, 2 open"
    path.write_text(wrong(2, "self.grad_k += np.sum(dObj_dOut * self.x)", "self.grad_k += np.sum(dObj_dOut)"))
    status, out, _ = run("check", path)
    assert status == 1
    assert out.splitlines()[0] == "lesson  2  Square  right"
    assert out.splitlines()[1].startswith("lesson  2  Mul     wrong  compute_backward: grad_k[0] is ")
    assert "x is missing: dy/dk = x" in out
    path.write_text(lesson(2).script(with_solutions=True))
    status, out, _ = run("check", path)
    assert (status, out.splitlines()[-1]) == (0, "2 right, 0 wrong, 0 open")


def test_a_notebook_with_magics_and_pictures(tmp_path: Path, run: Run) -> None:
    contents = json.loads(lesson(4).notebook(with_solutions=True))
    code = [cell for cell in contents["cells"] if cell["cell_type"] == "code"]
    code[0]["source"] = ["%matplotlib inline\n", "!pip install pancake-nn\n", "files = !ls\n", "np?\n", *code[0]["source"]]
    contents["cells"].insert(0, {"cell_type": "code", "source": "%%bash\nrm -rf nothing", "metadata": {}, "outputs": []})
    contents["cells"].insert(1, {"cell_type": "code", "source": "%%time\nfrom math import pi\n", "metadata": {}, "outputs": []})
    contents["cells"].append({"cell_type": "code", "source": "this is no Python", "metadata": {}, "outputs": []})
    path = tmp_path / "my notebook.ipynb"
    path.write_text(json.dumps(contents))
    assert run("check", path)[0] == 0
    code[1]["source"] = "".join(code[1]["source"]).replace("return dObj_dOut @ self.weight", "return dObj_dOut @ self.w")
    path.write_text(json.dumps(contents))
    status, out, _ = run("check", path)
    assert status == 1
    assert "wrong  cell 4, line 18, in compute_backward: AttributeError" in out


def test_a_folder_of_scripts_and_notebooks_counts_what_is_furthest(tmp_path: Path, run: Run) -> None:
    assert run("new", tmp_path)[0] == 0
    (tmp_path / "lesson_04.ipynb").write_text(lesson(4).notebook(with_solutions=True))
    (tmp_path / "notes.py").write_text("print('no exercise')")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "lesson_05.ipynb").write_text("{}")
    status, out, _ = run("check", tmp_path)
    assert status == 1
    assert "lesson  4  Linear        right" in out
    assert out.splitlines()[-1] == "1 right, 0 wrong, 13 open"
    assert run("check", tmp_path, "--lesson", 4)[0] == 0


def test_many_participants_make_a_table(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("anna", "ben"):
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "anna" / "deep" / "lesson_05.py").write_text(wrong(5, "self.positive = x > 0", "self.positive = x < 0"))
    (tmp_path / "ben" / "lesson_05.py").write_text(lesson(5).script())
    found = check(tmp_path)
    assert as_text(found).splitlines()[:3] == [
        "      Sigmoid  ReLU   CrossEntropy",
        "anna  right    wrong  right",
        "ben   open     open   open",
    ]
    assert "anna: ReLU: compute_forward: y" in as_text(found)
    assert not all_right(found)
    monkeypatch.setattr("pancake.workshop.check.check", lambda *paths, only: found)
    status, out, _ = run("check", tmp_path, "--json")
    assert status == 1
    people = json.loads(out)["submissions"]
    assert [p["participant"] for p in people] == ["anna", "ben"]
    assert people[0]["exercises"][1].items() >= {"lesson": 5, "exercise": "ReLU", "status": "wrong"}.items()
    assert people[1]["exercises"][0]["sentence"].startswith("compute_forward, line 24 (remember")


def test_many_participants_in_one_folder(tmp_path: Path, run: Run) -> None:
    for name in ("anna_lesson_04.py", "lesson-4 ben.py"):
        (tmp_path / name).write_text(lesson(4).script())
    _, out, _ = run("check", tmp_path)
    assert out.splitlines()[:3] == ["      Linear", "anna  open", "ben   open"]


def test_files_of_many_beside_folders_of_many(tmp_path: Path, run: Run) -> None:
    for name in ("anna", "carl", "pictures"):
        (tmp_path / name).mkdir()
    (tmp_path / "anna_lesson_02.py").write_text(lesson(2).script())
    (tmp_path / "anna" / "lesson_04.py").write_text(lesson(4).script())
    (tmp_path / "bert_lesson_04 (1).ipynb").write_text("{")
    (tmp_path / "carl" / "lesson_04.py").write_text(lesson(4).script())
    (tmp_path / "lesson_04.py").write_text(lesson(4).script())
    _, out, _ = run("check", tmp_path)
    assert [row.split() for row in out.splitlines()[1:5]] == [
        ["(in", "the", "folder", "itself)", "-", "-", "open"],
        ["anna", "open", "open", "open"],
        ["bert", "-", "-", "wrong"],
        ["carl", "-", "-", "open"],
    ]
    assert "bert: Linear: bert_lesson_04 (1).ipynb cannot be read as a notebook" in out


def test_several_files_are_those_of_one_participant_or_of_each_who_is_named(tmp_path: Path, run: Run) -> None:
    files = [tmp_path / name for name in ("lesson_02.py", "lesson_04.py", "notes.py")]
    for number, file in zip((2, 4), files, strict=False):
        file.write_text(lesson(number).script())
    files[-1].write_text("x = 1\n")
    assert [line.split()[2] for line in run("check", *files)[1].splitlines()[:-1]] == ["Square", "Mul", "Linear"]
    assert [line.split()[2] for line in run("check", *files, "--lesson", 4)[1].splitlines()[:-1]] == ["Linear"]
    anna = tmp_path / "anna_lesson_04.py"
    anna.write_text(lesson(4).script())
    for name in ("carl", "dora"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lesson_04.py").write_text(lesson(4).script())
    _, out, _ = run("check", anna, files[1], tmp_path / "carl", tmp_path / "dora")
    assert [row.split()[-2:] for row in out.splitlines()[1:5]] == [
        ["name)", "open"],
        ["anna", "open"],
        ["carl", "open"],
        ["dora", "open"],
    ]
    status, _, err = run("check", files[0], tmp_path / "lesson_03.py")
    assert (status, "there is no" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken.ipynb", '{"cells": [{"cell_ty', "check: broken.ipynb cannot be read as a notebook"),
        ("broken.py", "x = 1\ndef f(:", "check: broken.py, line 2 is no Python: invalid syntax"),
    ],
)
def test_of_a_file_that_cannot_be_read_nobody_says_that_it_has_no_exercise(
    name: str, text: str, said: str, tmp_path: Path, run: Run
) -> None:
    (tmp_path / name).write_text(text)
    assert run("check", tmp_path / name) == (2, "", f"python -m pancake.workshop: {said}\n")


def test_a_participant_with_nothing_to_judge_has_a_row_and_is_not_right(tmp_path: Path, run: Run) -> None:
    for name in ("carl", "dora"):
        (tmp_path / name).mkdir()
    (tmp_path / "carl" / "lesson_02.py").write_text(lesson(2).script(with_solutions=True))
    (tmp_path / "dora" / "solutions.py").write_text("class Lineal: pass\n")
    status, out, _ = run("check", tmp_path)
    assert out.splitlines()[:3] == ["      Square  Mul", "carl  right   right", "dora  nothing to judge"]
    assert status == 1


def test_a_second_download_is_no_participant(tmp_path: Path, run: Run) -> None:
    for name in ("lesson_04.py", "lesson_04 (1).py", "lesson_04-Copy1.ipynb"):
        (tmp_path / name).write_text(lesson(4).script() if name.endswith(".py") else lesson(4).notebook())
    _, out, _ = run("check", tmp_path)
    assert out.startswith("lesson  4  Linear  open")


def test_files_in_the_folder_stand_in_for_nothing_but_what_is_imported(tmp_path: Path) -> None:
    for name in ("json", "random", "numpy", "pancake"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
    (tmp_path / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    path = tmp_path / "lesson_02.py"
    path.write_text("from helper import twice\n" + solution("Square").replace("2 * self.x", "twice(self.x)"))
    assert judged(path, "Square") == ("right", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("while True: pass", "still running after"),
        pytest.param("input()", "asks for input", marks=pytest.mark.slow),
        pytest.param("import sys; sys.exit(0)", "ends the program", marks=pytest.mark.slow),
        pytest.param("import os; os._exit(0)", "ended with exit status 0 before it could be judged", marks=pytest.mark.slow),
        ("kept = [np.ones(10**6) for _ in range(10**4)]", "more memory"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "ended by the signal SIGKILL", marks=pytest.mark.slow),
        pytest.param("import subprocess; subprocess.run(['sleep', '60'])", "still running after", marks=pytest.mark.slow),
        pytest.param("print('x' * 10**5)", "", marks=pytest.mark.slow),
    ],
)
def test_limits(line: str, said: str, tmp_path: Path) -> None:
    if "memory" in said:
        pytest.importorskip("resource", reason="memory cannot be limited on this system")
    path = tmp_path / "lesson_02.py"
    path.write_text(solution("Square").replace("return x**2", f"{line}\n        return x**2"))
    status, sentence = judged(path, "Square", seconds=2 if "running" in said else 30, megabytes=128)
    assert status == ("wrong" if said else "right")
    assert said in sentence


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "nowhere"], "there is no nowhere"),
        (["check", "empty"], "no script and no notebook with an exercise in empty"),
        (["check", "a.txt"], "expected a script (.py), a notebook (.ipynb) or a folder, got a.txt"),
        (["check", "other.py"], "no exercise in other.py"),
        (["check", "other.py", "--lesson", "11"], "invalid choice"),
        (["check"], "required"),
        (["hint", "Linea"], "there is no exercise 'Linea'; did you mean Linear?"),
        (["hint", "linear"], "did you mean Linear?"),
        (["hint", "xyz"], "expected one of derivatives, slope"),
        (["hint", "4"], "give the name of an exercise; lesson 4 has Linear"),
        (["hint", "Linear", "4"], "invalid choice: '4' (choose from"),
        (["hint", "Linear", "x"], "invalid choice: 'x' (choose from"),
        (["solution", "0"], "invalid choice: 0"),
        (["blank", "pancake.Layernorm"], "did you mean pancake.LayerNorm?"),
        (["blank", "Relu"], "got 'Relu'; did you mean pancake.ReLU?"),
        (["blank", "fit"], "expected a layer, cell, loss or optimizer of pancake, got 'fit'"),
        (["blank", "pancake.SGD", "--forward"], "SGD is an optimizer and has no forward"),
        (["new", "a.txt"], "new: a.txt is a file; give a folder"),
        (["new", "a.txt/b"], "new: cannot write into a.txt/b (Not a directory); give another folder"),
        ([], "required"),
    ],
)
def test_bad_arguments_end_with_one_line_and_status_2(
    arguments: list[str], said: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("")
    Path("other.py").write_text("x = 1\n")
    Path("empty").mkdir()
    status, out, err = run(*arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_a_blank_of_the_library_needs_hypothesis(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)  # as if it were not installed
    path = tmp_path / "layer_norm.py"
    path.write_text("# pancake.workshop blank pancake.LayerNorm\nclass LayerNorm:\n    pass\n")
    status, out, err = run("check", path)
    assert (status, out) == (2, "")
    assert err.endswith("layer_norm.py hypothesis is needed: pip install hypothesis\n")


def test_new_never_overwrites_and_writes_all_or_nothing(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "a" / "b"
    status, out, _ = run("new", folder)
    assert status == 0
    assert "20 files" in out
    assert len(list(folder.iterdir())) == 20
    (folder / "lesson_01.py").write_text("mine")
    status, _, err = run("new", folder)
    assert (status, len(err.splitlines())) == (2, 1)
    assert (folder / "lesson_01.py").read_text() == "mine"
    other = tmp_path / "c"
    other.mkdir()
    (other / "lesson_10.ipynb").write_text("mine")
    assert run("new", other)[0] == 2
    assert [p.name for p in other.iterdir()] == ["lesson_10.ipynb"]


def test_new_leaves_nothing_when_it_fails(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def failing(self: object, **arguments: bool) -> str:
        calls.append("")
        return "text" if len(calls) < 15 else "\udc80"  # which cannot be written

    monkeypatch.setattr("pancake.workshop.lesson.Lesson.notebook", failing)
    assert run("new", tmp_path / "a" / "b")[0] == 0
    calls.clear()
    calls.extend([""] * 10)
    assert run("new", tmp_path / "c" / "d")[0] == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(os.name == "nt", reason="there is no such pipe on Windows")
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pancake.workshop", "solution", "4"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_hints_come_in_stages(run: Run) -> None:
    stages = [run("hint", "Linear", stage)[1] for stage in (1, 2, 3)]
    assert len(set(stages)) == 3
    assert "(O, I)" in stages[1]
    assert "self.grad_weight += dObj_dOut.T @ self.x" in stages[2]
    assert run("hint", "Linear")[1] == stages[0]


def test_the_module_is_a_program_and_not_loaded_by_import() -> None:
    found = subprocess.run([sys.executable, "-m", "pancake.workshop", "check", "nowhere"], capture_output=True, check=False)
    assert found.returncode == 2
    code = "import sys, pancake\nassert 'pancake.workshop' not in sys.modules\nimport pancake.workshop\n"
    code += "assert not {'hypothesis', 'matplotlib'} & {*sys.modules}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PATCHES = [
    ("import pancake.workshop.judges.square_and_mul as j\nj.contracts = j.known_mistakes = lambda *a: None\n", "changes pancake"),
    ("import pancake.workshop.judging as j\nj.compare.__code__ = (lambda *a, **k: None).__code__\n", "changes pancake"),
    ("import numpy as np\nnp.allclose = lambda *a, **k: True\n", "changes numpy"),
    (
        "import json, os, sys\nfor place in (*sys.argv, *open('/proc/self/cmdline').read().split(chr(0))):\n"
        "    if place.endswith('.json'):\n        open(place, 'w').write(json.dumps(['right', '']))\nos._exit(0)\n",
        "exit status 0 before it could be judged",
    ),
    (
        'import os\nfor number in range(64):\n    try:\n        os.write(number, b\'["", "right", ""]\')\n'
        "    except OSError:\n        pass\nos._exit(0)\n",
        "exit status 0 before it could be judged",
    ),
]


@pytest.mark.parametrize(("patch", "said"), PATCHES)
def test_a_file_that_makes_itself_right_is_wrong(patch: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "patch.py"
    lines = "".join(f"        {line}\n" for line in patch.splitlines())
    path.write_text(solution("Square").replace("        self.x = x\n", lines + "        self.x = x\n"))
    status, sentence = judged(path, "Square")
    assert status == "wrong"
    assert said in sentence


def test_files_are_read_by_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # with two in ast.parse Python raises SystemError now and then
    for person in ("anna", "bert", "cleo"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "lesson_02.py").write_text(lesson(2).script(with_solutions=True))
    threads: set[int] = set()
    parse = ast.parse

    def noted(*args: Any, **options: Any) -> ast.AST:
        threads.add(threading.get_ident())
        return parse(*args, **options)

    monkeypatch.setattr(ast, "parse", noted)
    assert all_right(check(tmp_path))
    assert threads == {threading.get_ident()}


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    script, notebook = tmp_path / "lesson_02.py", tmp_path / "lesson_05.ipynb"
    script.write_text(lesson(2).script(with_solutions=True), encoding="utf-8-sig")
    notebook.write_text(lesson(5).notebook(with_solutions=True), encoding="utf-8-sig")
    assert all_right(check(tmp_path))


UNREADABLE = [
    ("lesson_02.py", b"x = 1\0\n", "null bytes"),
    ("lesson_02.py", "x = 1\n".encode("utf-16"), "null bytes"),
    ("lesson_02.py", b"a = 1" + b" + 1" * 5000, "nested too deeply"),
    ("lesson_02.py", b"a = 1" + b" + 1" * 300, "nested too deeply"),
    ("lesson_02.py", b"a = " + b"-" * 100_000 + b"1", "nested too deeply"),
    ("lesson_02.ipynb", b"[" * 100_000, "cannot be read as a notebook"),
    ("lesson_02.py", b"class Square:\n    def __init__(self):\n        raise ValueError('\\ud800')\n", r"\ud800"),
]


@pytest.mark.parametrize(("name", "contents", "said"), UNREADABLE)
def test_what_one_participant_hands_in_leaves_the_others_alone(
    name: str, contents: bytes, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for person in ("anna", "bert"):
        (tmp_path / person).mkdir()
    (tmp_path / "anna" / name).write_bytes(contents)
    (tmp_path / "anna" / "nowhere.py").symlink_to(tmp_path / "nothing.py")
    (tmp_path / "bert" / "own.py").write_text(solution("Square"))
    assert main(["check", str(tmp_path)]) == 1
    out = capfd.readouterr().out
    assert "anna  wrong" in out
    assert "bert  right" in out
    assert said in out
    assert "None" not in out
