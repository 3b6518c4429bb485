"""What one pays before the first step: the import, the first fit of a process, the size of the wheel."""

import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from . import conditions
from .common import need

IMPORT = """
import time, numpy
begin = time.perf_counter()
import bpfast
print(time.perf_counter() - begin)
"""
FIRST_FIT = """
import time, numpy as np, bpfast as bp
rng = np.random.default_rng(0)
X, y = rng.standard_normal((1000, 13), "f4"), rng.standard_normal(1000, "f4")
begin = time.perf_counter()
net = bp.Network([bp.Dense(50, "relu"), bp.Dense(1)], seed=0)
bp.Trainer(net, loss="squared_error", seed=0, backend={backend!r}).fit(X, y, epochs=1, verbose=False)
print(time.perf_counter() - begin)
"""
TOOLS = {"pip": 21, "setuptools": 77, "Cython": 3}  # to build a wheel with, and their least versions


def installed(tool):
    """-> the major version of a package, 0 where it is not installed."""
    try:
        return int(metadata.version(tool).partition(".")[0])
    except metadata.PackageNotFoundError:
        return 0


def milliseconds(program, processes=9):
    """The median of what a program prints, in fresh processes; a first one fills the disk cache."""
    command = [sys.executable, "-c", program]
    printed = [subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout for _ in range(1 + processes)]
    return 1e3 * statistics.median(map(float, printed[1:]))


class Import:
    def track_import_time(self):
        """What ``import bpfast`` adds to ``import numpy``."""
        return milliseconds(IMPORT)

    track_import_time.unit = "ms"


class FirstFit:
    params = (["native", "numba", "numpy"],)
    param_names = ("backend",)

    def setup(self, backend):
        need(backend)

    def track_first_fit(self, backend):
        """13-50-1, 1000 rows, one epoch, in a process that has not fitted before: compilation counts."""
        return milliseconds(FIRST_FIT.format(backend=backend), processes=3)

    track_first_fit.unit = "ms"


class Wheel:
    timeout = 600

    def setup_cache(self):
        """-> the bytes of a wheel built from this source, or the reason why there is none."""
        missing = [tool for tool, major in TOOLS.items() if installed(tool) < major]
        if missing:
            return f"no wheel is built, for want of a recent {' and '.join(missing)}"
        with tempfile.TemporaryDirectory() as scratch:
            source, output = Path(scratch, "source"), Path(scratch, "output")
            ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__")
            shutil.copytree(Path(__file__).resolve().parents[2], source, ignore=ignored)
            pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", output, source]
            subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, preexec_fn=conditions.use_all_cores)
            [wheel] = output.glob("*.whl")
            return wheel.stat().st_size

    def setup(self, size):
        if isinstance(size, str):
            raise NotImplementedError(size)

    def track_wheel_size(self, size):
        return size

    track_wheel_size.unit = "bytes"
