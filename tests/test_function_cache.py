"""Machine code in files: found again without Numba, never stale, never damaged, bounded; threads and forks."""

import json
import os
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import compiled as c
import numpy as np
import pytest
from samples import ROOT, python

from bpfast.backends.numba import cache, functions
from bpfast.backends.numba.functions import activation

X = np.linspace(-2, 2, 32, dtype="f4")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and no code of other tests in memory."""
    monkeypatch.setenv("BPFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(functions, "_alive", type(functions._alive)())
    return tmp_path / "cache"


def again(monkeypatch):
    """As in another process: nothing in memory."""
    monkeypatch.setattr(functions, "_alive", type(functions._alive)())


def times(factor):
    return eval(f"lambda x: x * {factor!r}")


def files(folder):
    return sorted(folder.glob("*")) if folder.exists() else []


def test_a_file_is_found_again(folder, monkeypatch):
    first = activation(times(3.5), "f4")
    assert not first.from_file and len(files(folder)) == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 or os.name != "posix"
    again(monkeypatch)
    second = activation(times(3.5), "f4")
    assert second.from_file and second is not first
    assert (c.values(second, X) == X * np.float32(3.5)).all()


def test_what_differs_has_its_own_file(folder, monkeypatch):
    for n, make in enumerate((
        lambda: activation(times(3.5), "f4"), lambda: activation(times(3.75), "f4"),
        lambda: activation(times(3.5), "f8"),
        lambda: activation(times(3.5), "f4", derivative=times(1.0)), lambda: functions.loss(lambda y, t: y * 3.5, "f4"),
        lambda: functions.update(lambda g, w: w * 3.5, "f4", 0, 0),
    )):
        assert not make().from_file and len(files(folder)) == n + 1
    monkeypatch.setattr(functions, "_here", lambda: "another processor")
    assert not activation(times(3.5), "f4").from_file


PROGRAM = """
import json, sys
sys.path.insert(0, {tests!r})
sys.path.insert(0, {helpers!r})
import numpy as np, helpers, compiled as c
from bpfast.backends.numba.functions import activation
f = activation(lambda x: helpers.double(x) + 1, "f4")
print(json.dumps([f.from_file, "numba" in sys.modules, c.values(f, np.full(4, 3, "f4")).tolist()]))
"""


def run(folder, helper):
    helpers = folder.parent / "helpers"
    helpers.mkdir(exist_ok=True)
    (helpers / "helpers.py").write_text(f"FACTOR = {helper}\n\n\ndef double(x):\n    return FACTOR * x\n")
    program = PROGRAM.format(tests=str(ROOT / "tests"), helpers=str(helpers))
    return json.loads(python("-B", "-c", program, BPFAST_CACHE=str(folder)).stdout)


def test_another_process_finds_it_without_numba_and_sees_a_helper_change(folder):
    assert run(folder, 2) == [False, True, [7.0] * 4]
    assert run(folder, 2) == [True, False, [7.0] * 4]
    assert run(folder, 3) == [False, True, [10.0] * 4]
    assert run(folder, 2) == [True, False, [7.0] * 4]


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:20], lambda data: data[:-1], lambda data: data + b"\0",
    lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], lambda data: data[::-1],
])
def test_a_damaged_file_is_made_anew(folder, monkeypatch, damage):
    activation(times(4.5), "f4")
    [file] = files(folder)
    good = file.read_bytes()
    file.write_bytes(damage(good))
    again(monkeypatch)
    assert not activation(times(4.5), "f4").from_file
    again(monkeypatch)
    assert activation(times(4.5), "f4").from_file
    assert len(file.read_bytes()) == len(good)


def test_what_has_no_key_is_compiled_and_not_kept(folder):
    factors = np.array([2.0, 3.0])
    f = eval("lambda x: x * factors[0]", {"factors": factors})
    assert (c.values(activation(f, "f4"), X) == 2 * X).all()
    assert not files(folder)


@pytest.mark.parametrize("place", ["", "file", "others", "read only", "not there"])
def test_a_folder_that_cannot_be_used_is_not(tmp_path, monkeypatch, place):
    again(monkeypatch)
    folder = tmp_path / "cache"
    monkeypatch.setenv("BPFAST_CACHE", str(folder) if place else "")
    if place == "file":
        folder.write_text("not a folder")
    elif place == "others":
        folder.mkdir()
        folder.chmod(0o777)
    elif place == "read only":
        folder.mkdir(mode=0o500)
        denied = lambda *args, **kwargs: (_ for _ in ()).throw(PermissionError)  # root may write anywhere
        monkeypatch.setattr(cache.Path, "write_bytes", denied)
    elif place == "not there":
        monkeypatch.setattr(cache.Path, "mkdir", lambda *args, **kwargs: (_ for _ in ()).throw(OSError))
    assert not activation(times(5.5), "f4").from_file
    again(monkeypatch)
    f = activation(times(5.5), "f4")
    assert not f.from_file and (c.values(f, X) == X * np.float32(5.5)).all()
    assert place == "file" or not files(folder)


def test_the_folder_of_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("BPFAST_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "bpfast"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(cache.Path, "home", lambda: tmp_path)
    assert cache.folder() == tmp_path / ".cache" / "bpfast"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.folder() == tmp_path / "Library" / "Caches" / "bpfast"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert cache.folder() == tmp_path / "Local" / "bpfast"

    def no_home():
        raise RuntimeError

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cache.Path, "home", no_home)
    assert cache.folder() is None
    assert cache.read("00") is None
    cache.write("00", b"code")


def test_the_oldest_files_go(folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_FILES", 3)
    for n in range(3):
        cache.write(f"{n}", b"code")
        os.utime(folder / f"{n}.bin", (n + 1, n + 1))
    (folder / "left.tmp").write_bytes(b"")
    os.utime(folder / "left.tmp", (0, 0))
    assert cache.read("0") == b"code"  # which makes it the newest
    cache.write("3", b"code")
    assert [file.name for file in files(folder)] == ["0.bin", "2.bin", "3.bin"]


def test_six_threads_at_once(folder):
    """Two functions; each is compiled once, and all get it."""
    barrier = threading.Barrier(6)

    def one(n):
        barrier.wait()
        f = activation(times(6.5 + n % 2), "f4")
        assert (c.values(f, X) == X * np.float32(6.5 + n % 2)).all()
        return f

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(6)))
    assert len({id(f) for f in found}) == 2 and len(files(folder)) == 2


FORK = """
import os, signal, threading
from bpfast.backends.numba.functions import activation

def compile(factor):
    activation(eval(f"lambda x: x * {factor}"), "f4")

threads = [threading.Thread(target=compile, args=(factor,)) for factor in (2, 3)]
for thread in threads:
    thread.start()
for thread in threads:  # while one of two compiles, or imports Numba; then while the other does
    child = os.fork()
    if child == 0:
        signal.alarm(100)  # ends one that waits for a lock
        compile(4)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_a_thread_compiles():
    python("-W", "ignore::DeprecationWarning", "-c", FORK, BPFAST_CACHE="")


FORKS = """
import os, signal, sys, threading
import numba
from bpfast.backends.numba.locks import COMPILING

def fork():
    for _ in range(200):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

signal.alarm(100)  # ends what waits for a lock
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=fork) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert COMPILING.acquire(blocking=False)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_threads_that_fork_leave_no_lock_taken():
    assert not python("-W", "ignore::DeprecationWarning", "-c", FORKS).stderr
