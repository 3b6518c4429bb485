"""A process that fits for ever does not grow."""

import ctypes
import gc
import os
from itertools import pairwise

from promise import child, promise, receive
from work import TINY, Work

import bpfast as bp

WORK = Work((64, 128, 64, 10), 64, 512)
WINDOWS = 5
DIVERGING = TINY._replace(rows=64, optimizer=bp.SGD(1e38))


class Mallinfo2(ctypes.Structure):
    """As glibc has it: ``uordblks`` bytes of the heap are in use, ``hblkhd`` in pieces mapped one by one."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


def resident():
    """-> bytes of the process in memory when what is free has been given back."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allocated():
    """-> bytes that malloc has given out: arrays and arenas, not the small objects of Python."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return info.uordblks + info.hblkhd


BYTES = {"resident": resident, "given out by malloc": allocated}


@promise("growth of memory per fit, prediction and fit that diverges", 0.1, "KiB", repeats=1000, quick=100, cases=BYTES)
def memory(n_threads, repeats, case):
    with child("spawn", send_growth, n_threads, repeats, case) as (_, pipe):
        return receive(pipe) / 1024 / (repeats // WINDOWS)


def send_growth(pipe, n_threads, repeats, case):
    """The least of some windows: a leak grows in every one, a heap that touches one of its pages first in few."""
    work(n_threads, max(repeats // WINDOWS, 50))
    figures = [BYTES[case]()]
    for _ in range(WINDOWS):
        work(n_threads, repeats // WINDOWS)
        figures.append(BYTES[case]())
    pipe.send(min(after - before for before, after in pairwise(figures)))


def work(n_threads, repeats):
    for _ in range(repeats):
        trainer = WORK.fitted(n_threads, epochs=1)
        trainer.predict(WORK.data()[0])
        trainer.evaluate(*WORK.data())
        try:
            DIVERGING.fitted(n_threads)
        except bp.DivergenceError:
            pass
    gc.collect()
