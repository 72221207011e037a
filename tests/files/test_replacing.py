"""What save leaves in the folder: permissions, names, and the leftovers of saves that were killed."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys

import pytest

import pancake as pk
from pancake.files.replacing import replacing

posix = pytest.mark.skipif(os.name != "posix", reason="files of POSIX")
every_suffix = pytest.mark.parametrize("suffix", ["npz", "safetensors"])


@posix
@every_suffix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o644, 0o700])
@pytest.mark.parametrize("mask", [0o022, 0o077, 0])
def test_the_new_file_has_the_permissions_of_the_old_one(tmp_path, suffix, mode, mask):
    path = tmp_path / f"model.{suffix}"
    pk.save(path, pk.Tanh())
    path.chmod(mode)
    before = os.umask(mask)
    try:
        pk.save(path, pk.ReLU())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert isinstance(pk.load(path), pk.ReLU)


@posix
def test_a_private_file_is_private_while_it_is_written(tmp_path):
    path = tmp_path / "model.npz"
    path.touch(0o600)
    with replacing(str(path)) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


@posix
def test_the_group_of_the_old_file_or_nothing_for_a_group(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    pk.save(path, pk.Tanh())
    path.chmod(0o664)
    owners = []
    monkeypatch.setattr(os, "fchown", lambda handle, user, group: owners.append((user, group)))
    pk.save(path, pk.Tanh())
    assert owners == [(-1, path.stat().st_gid), (path.stat().st_uid, -1)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o664

    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    pk.save(path, pk.Tanh())
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@posix
def test_a_file_that_may_not_be_written_stays(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    pk.save(path, pk.Tanh())
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *args: False)  # as for everybody but root
    with pytest.raises(PermissionError, match=r"model\.npz"):
        pk.save(path, pk.ReLU())
    assert isinstance(pk.load(path), pk.Tanh)


@every_suffix
def test_names_as_long_as_they_can_be(tmp_path, suffix):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    ending = f".{suffix}"
    for name in ("a" * (longest - len(ending)), "ä" * ((longest - len(ending)) // 2)):
        pk.save(tmp_path / (name + ending), pk.Tanh())
        pk.save(tmp_path / (name + ending), pk.ReLU())
        assert isinstance(pk.load(tmp_path / (name + ending)), pk.ReLU)
    assert len(list(tmp_path.iterdir())) == 2


@posix
def test_pipes_devices_and_folders_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "link.npz").symlink_to("/dev/null")
    for name in ("pipe", "folder", "link"):
        path = tmp_path / f"{name}.npz"
        before = path.stat().st_mode
        with pytest.raises(ValueError, match="is a folder, pipe or device"):
            pk.save(path, pk.Tanh())
        with pytest.raises(ValueError, match="is a folder, pipe or device"):  # and is not waited for
            pk.load(path)
        assert path.stat().st_mode == before
    assert len(list(tmp_path.iterdir())) == 3


KILLED = """
import os, sys, numpy as np, pancake as pk
model = pk.Subtract(np.ones(1000))
def stop(*args, **options):
    print("there", flush=True)
    os.read(0, 1)  # until it is killed
moment = sys.argv[2]
if moment == "write":
    np.lib.format.write_array = stop
else:
    setattr(os, moment, stop)
pk.save(sys.argv[1], model)
"""


@contextlib.contextmanager
def running(code, *arguments):
    """A child process, killed when it is no longer needed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


@contextlib.contextmanager
def stopped(path, moment):
    """A process that is in the middle of a save."""
    with running(KILLED, path, moment) as child:
        assert child.stdout.readline() == "there\n"
        yield


@posix
@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_leftovers_are_cleared_by_the_next_save_of_that_file_when_nobody_writes_them(tmp_path, moment):
    path, other = tmp_path / "model.npz", tmp_path / "other.npz"
    with stopped(path, moment):
        (left,) = tmp_path.iterdir()
        pk.save(other, pk.Tanh())
        pk.save(path, pk.Tanh())
        assert {left, path, other} == set(tmp_path.iterdir())  # it is still being written
    pk.save(other, pk.Tanh())
    assert left.exists()  # it is none of another file
    pk.save(path, pk.ReLU())
    assert {path, other} == set(tmp_path.iterdir())
    assert isinstance(pk.load(path), pk.ReLU)


@posix
def test_a_file_that_was_taken_for_a_leftover_is_made_anew(tmp_path, monkeypatch):
    """Another process looks for leftovers after the file has been made and before it is locked."""
    fcntl = pytest.importorskip("fcntl")
    path, lock, waiting = tmp_path / "model.npz", fcntl.flock, [None, None]

    def late(file, how):
        if waiting and how == fcntl.LOCK_EX:
            waiting.pop()
            os.unlink(file.name)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    pk.save(path, pk.Tanh())
    assert not waiting
    assert isinstance(pk.load(path), pk.Tanh)
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_where_files_cannot_be_locked_nothing_is_cleared(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "model.npz"
    with stopped(path, "replace"):
        pass

    def refuse(*args):
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    pk.save(path, pk.Tanh())
    assert len(list(tmp_path.iterdir())) == 2
    assert isinstance(pk.load(path), pk.Tanh)


@posix
def test_processes_that_save_into_one_file_and_are_killed(tmp_path):
    """Each of two processes saves as fast as it can; none of them takes the file of the other for a leftover."""
    path = tmp_path / "model.npz"
    code = (
        "import sys, itertools, numpy as np, pancake as pk\nmodel = pk.Subtract(np.full(20_000, float(sys.argv[2])))\n"
        "for i in itertools.count():\n    pk.save(sys.argv[1], model)\n    print(i, flush=True)\n"
    )
    with running(code, path, 0) as first, running(code, path, 1) as second:
        for child in (first, second):
            for i in range(30):
                assert child.stdout.readline() == f"{i}\n"  # it would be empty if the process had ended with an error
                assert len(set(pk.load(path).target)) == 1
    pk.save(path, pk.Tanh())
    assert list(tmp_path.iterdir()) == [path]
