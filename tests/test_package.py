"""The sdist and the wheel that is built from it: what they hold, what they need, and that they run."""

import email
import os
import re
import tarfile
import zipfile

import pytest
from samples import ROOT, copy_of_the_sources, python

import bpfast as bp
from bpfast import backends

PURE = bool(backends.missing("native"))
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of an sdist and of the wheel that was built from it, under CFLAGS that must not get through."""
    folder = tmp_path_factory.mktemp("built")
    sources = copy_of_the_sources(folder / "sources")
    python("-m", "build", "--no-isolation", "--outdir", folder, sources, CFLAGS="-Ofast -ffast-math",
           BPFAST_PURE="1" if PURE else "")
    return folder


@pytest.fixture(scope="module")
def sdist(built):
    """The names in the sdist, below its top folder."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as file:
        return {name.partition("/")[2] for name in file.getnames() if "/" in name}


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel_names(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the wheel's contents alone."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


# -- the sdist ----------------------------------------------------------------------------------------------


def test_the_sdist_holds_every_source(sdist):
    suffixes = {".py", ".pyx", ".pxd", ".pxi", ".h", ".c", ".npz", ".typed", ".toml", ".md", ".json", ".in"}
    sources = {str(path.relative_to(ROOT)) for folder in ("bpfast", "bench", "tests", "tools")
               for path in (ROOT / folder).rglob("*") if path.suffix in suffixes}
    sources = {name for name in sources if not re.search(r"(^|/)(\.|build/|results/|html/|env/)|engine\.c$", name)}
    sources |= {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "MANIFEST.in"}
    assert not sources - sdist


def test_the_sdist_holds_nothing_generated(sdist):
    assert not [name for name in sdist if name.endswith((".so", ".o", ".pyc", ".log")) or "__pycache__" in name]
    written = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.c")}
    generated = {name for name in sdist if name.endswith(".c")} - written
    cython = {name for name in sdist if name.endswith(".c") and name[:-2] + ".pyx" in sdist}
    assert not generated | cython


# -- the wheel ----------------------------------------------------------------------------------------------


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size <= (MEGABYTE if not PURE else MEGABYTE / 4)


def test_the_wheel_holds_no_source_of_the_build(wheel_names):
    assert not [name for name in wheel_names if name.endswith((".c", ".h", ".pyx", ".pxi", ".o"))]
    assert all(name.split("/")[0] in ("bpfast", f"bpfast-{bp.__version__}.dist-info") for name in wheel_names)


def test_the_wheel_holds_what_is_needed(wheel_names):
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "bpfast").rglob("*.py")}
    assert modules <= wheel_names
    assert {"bpfast/py.typed", "bpfast/optdigits.npz"} <= wheel_names
    assert any(name.endswith("LICENSE") for name in wheel_names)
    extensions = [name for name in wheel_names if re.search(r"native/\w+\.[^/]*(so|pyd)$", name)]
    assert bool(extensions) == (not PURE)


def test_numpy_is_the_only_requirement(wheel):
    with zipfile.ZipFile(wheel) as file:
        text = file.read(f"bpfast-{bp.__version__}.dist-info/METADATA").decode()
    metadata = email.message_from_string(text)
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert [re.match(r"\w+", line)[0] for line in needed] == ["numpy"]
    extras = set(metadata.get_all("Provides-Extra"))
    assert extras >= {"numba", "sklearn", "plot", "test", "bench", "peers", "torch", "all"}
    pulls_torch = {line for line in metadata.get_all("Requires-Dist") if line.startswith("torch")}
    assert all(re.search(r'extra == ["\']torch["\']', line) for line in pulls_torch)
    assert metadata["Version"] == bp.__version__ and metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "BSD-3-Clause"


def test_the_wheel_runs(installed, tmp_path):
    """From an empty folder, without a compiler, with the best backend that it was built with."""
    code = "import bpfast as bp; from bpfast.demo import optdigits; X, y, *_ = optdigits(); " \
           "t = bp.Trainer(bp.Network([bp.Dense(10, 'softmax')], seed=0), loss='cross_entropy'); " \
           "t.fit(X, y, epochs=3); print(bp.__file__, t.backend, t.evaluate(X, y)['accuracy'])"
    done = python("-c", code, cwd=tmp_path, path=installed, CC="/bin/false")
    file, backend, accuracy = done.stdout.split()
    assert file.startswith(str(installed)) and float(accuracy) > 0.8
    assert backend == ("numba" if PURE else "native")
    assert not list(tmp_path.iterdir())


def test_flags_did_not_get_through(installed, tmp_path):
    """Neither flush-to-zero at import nor the loss of NaN: CFLAGS of the environment asked for both."""
    code = "import bpfast as bp, numpy as np; net = bp.Network([bp.Dense(40, 'tanh'), bp.Dense(1)], input_shape=3); " \
           "net.predict(np.ones((20, 3))); assert 5e-324 * 1.0 == 5e-324; " \
           "net.parameters['0.bias'] = np.full(40, np.nan); assert np.isnan(net.predict(np.ones((20, 3)))).all()"
    python("-c", code, cwd=tmp_path, path=installed)


# -- without a compiler -------------------------------------------------------------------------------------


def test_without_a_compiler(tmp_path):
    """BPFAST_PURE=1 builds a wheel for every machine, which runs, and says what it lacks."""
    sources = copy_of_the_sources(tmp_path / "sources")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, sources, BPFAST_PURE="1", CC="/bin/false")
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("py3-none-any.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = "import bpfast as bp; bp.show_config(); net = bp.Network([bp.Dense(2)], seed=0); " \
           "t = bp.Trainer(net, loss='squared_error'); print(t.backend); " \
           "t.fit([[1.0], [2.0]], [[1, 2], [2, 3]], epochs=2); net.predict([[1.0]]); " \
           "bp.Trainer(net, loss='squared_error', backend='native')"
    done = python("-c", code, cwd=tmp_path, path=tmp_path / "installed", expected=1)
    assert "\nnumba\n" in done.stdout and re.search(r"native +not available", done.stdout)
    assert "RuntimeError" in done.stderr and "compiler" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(PURE, reason="the native backend was not built, as BPFAST_PURE=1 asks")
def test_a_failed_build_is_an_error(tmp_path):
    """Without BPFAST_PURE=1 a machine without a compiler gets no slow package by surprise."""
    sources = copy_of_the_sources(tmp_path / "sources")
    failed = python("setup.py", "build_ext", "--inplace", cwd=sources, expected=1, CC="/bin/false")
    assert "/bin/false" in failed.stderr + failed.stdout


# -- the import ---------------------------------------------------------------------------------------------


def test_import_budget():
    """Printed, not judged: speed is a matter of bench/.  What an import loads is judged in test_house.py."""
    code = "import time; begin = time.perf_counter(); import numpy; middle = time.perf_counter(); import bpfast; " \
           "print(1e3 * (time.perf_counter() - middle), 1e3 * (middle - begin))"
    runs = sorted(tuple(map(float, python("-c", code).stdout.split())) for _ in range(5))
    print(f"\nimport bpfast: {runs[2][0]:.1f} ms after NumPy's {runs[2][1]:.1f} ms (the target is 15 ms)")


def test_the_test_run_uses_what_it_should():
    """The package under test is an installed one, or that of this repository; it has not been mixed."""
    folder = os.path.dirname(bp.__file__)
    assert os.path.dirname(backends.__file__) == os.path.join(folder, "backends")
