"""What a promise is, and the processes that keep it."""

import multiprocessing
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

DEADLINE = 30  # seconds after which a process has hung
THREADS = (1, 2)


class Broken(Exception):
    """A promise is broken, or cannot be measured, in a way that no figure tells."""


class Promise(NamedTuple):
    """What ``measure(n_threads, repeats, case)`` finds is to be at most ``target``, or at least.

    It is measured for every case and number of threads; ``repeats`` times what it does, or ``quick`` times.
    """

    name: str
    text: str
    target: float
    unit: str
    measure: Callable
    repeats: int
    quick: int
    cases: tuple
    threads: tuple
    at_least: bool

    def is_kept(self, figure):
        return figure >= self.target if self.at_least else figure <= self.target


def promise(text, target, unit="", *, repeats, quick, cases=("",), threads=THREADS, at_least=False):
    """Makes a Promise of the function that measures it."""
    return lambda measure: Promise(
        measure.__name__, text, target, unit, measure, repeats, quick, tuple(cases), threads, at_least)


@contextmanager
def child(method, target, *arguments):
    """A process that runs ``target(pipe, *arguments)``, killed in the end; -> it, and this end of the pipe."""
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments))
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join()


def receive(pipe):
    """What a child sends; Broken when it has hung or died."""
    if not pipe.poll(DEADLINE):
        raise Broken(f"nothing came for {DEADLINE} s")
    try:
        return pipe.recv()
    except EOFError:
        raise Broken("the process died") from None
