"""Build the modules of bpfast.backends.native. Everything else about the package is in pyproject.toml.

BPFAST_PURE=1 builds no extension; the package then runs in NumPy. Otherwise a failed build is an error.
"""

import os
import re
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

NATIVE = "bpfast/backends/native"
KERNELS = f"{NATIVE}/kernels.c"
HEADERS = sorted(glob("bpfast/ops/*.h") + glob(f"{NATIVE}/*.h") + glob(f"{NATIVE}/*.px[di]"))
REALS = {"float": ["-DREAL_IS_FLOAT=1"], "double": ["-DREAL_IS_FLOAT=0"]}
if sysconfig.get_platform().endswith(("x86_64", "amd64")):
    LEVELS = {
        "v2": ["-march=x86-64-v2"],
        "v3": ["-march=x86-64-v3"],
        "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }
else:
    LEVELS = {"base": []}

FAST, SMALL = "-O3", "-Os"  # what runs in a step; what is called once, of which a third is saved
FLAGS = ["-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Wall"]
STRICT = ["-Wextra", "-Wdouble-promotion"]  # for the C written by hand
# No tables for unwinding and no names of functions, a twentieth of the wheel, unless they are asked for by CFLAGS=-g.
DEBUGS = "-g" in os.environ.get("CFLAGS", "").split()
FLAGS += [] if DEBUGS else ["-fno-asynchronous-unwind-tables"]
STRIPPED = [] if DEBUGS or sys.platform == "win32" else ["-Wl,-s"]
# What CFLAGS may not bring in: each changes results, and some switch denormals off for the whole process.
UNSAFE = re.compile(
    r"-(Ofast|mdaz-ftz|f(fast|unsafe|associative|reciprocal|finite)-math.*|fno-signed-zeros|ffp-model=.*)"
)


class BuildExt(build_ext):
    """Compile kernels.c once per CPU level and real type, and link the objects into the module of tables."""

    def initialize_options(self):
        super().initialize_options()
        self.cython_c_in_temp = True  # no generated C beside the sources

    def run(self):
        try:
            super().run()
        except CompileError as error:
            raise CompileError(f"{error}; BPFAST_PURE=1 installs bpfast without a compiler, to run in NumPy") from None
        self.copy_extensions_to_source()  # in this folder `python -m bpfast` takes the sources, so they need it too

    def build_extension(self, ext):
        for program in "compiler_so", "linker_so":
            words = getattr(self.compiler, program)
            dropped = [word for word in words if UNSAFE.fullmatch(word)]
            if dropped:
                self.warn(f"bpfast sets its own floating-point flags; dropped {' '.join(dropped)}")
                setattr(self.compiler, program, [word for word in words if word not in dropped])
        if ext.name.endswith(".tables"):
            variants = [(level, real) for level in LEVELS for real in REALS]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                ext.extra_objects = list(pool.map(lambda variant: self.kernels(ext, *variant), variants))
        super().build_extension(ext)

    def kernels(self, ext, level, real):
        """Compile one variant, unless its object file is up to date; return that file's name."""
        folder = os.path.join(self.build_temp, f"{level}-{real}")
        [object_file] = self.compiler.object_filenames([KERNELS], output_dir=folder)
        if self.force or newer_group([KERNELS, *ext.depends], object_file):
            flags = [FAST, *FLAGS, *STRICT, *LEVELS[level], f"-DCPU_LEVEL={level}", *REALS[real]]
            self.compiler.compile(
                [KERNELS], output_dir=folder, include_dirs=ext.include_dirs, extra_postargs=flags
            )
        return object_file


def extension(name, optimisation):
    """A Cython module of the native backend."""
    return Extension(
        f"bpfast.backends.native.{name}",
        sources=[f"{NATIVE}/{name}.pyx"],
        depends=[KERNELS, "setup.py", *HEADERS],
        include_dirs=[NATIVE],
        libraries=["m"],
        extra_compile_args=[optimisation, *FLAGS],
        extra_link_args=STRIPPED,
    )


setup(
    ext_modules=[] if os.environ.get("BPFAST_PURE") == "1" else [extension("tables", SMALL), extension("engine", FAST)],
    cmdclass={"build_ext": BuildExt},
)
