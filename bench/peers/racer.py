"""A peer with a number of threads, seen from outside: a process, which does one thing at a time when asked."""

import math
import tempfile
import textwrap
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from . import process, worker


class Racer:
    """``failure`` says why it cannot go on, in one line; it is then asked no more."""

    def __init__(self, peer, threads, stack):
        self.peer, self.threads, self.failure = peer, threads, None
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        executor = ProcessPoolExecutor(1, get_context("spawn"), process.begin, (threads, scratch))
        self.executor = stack.enter_context(executor)

    def ask(self, do, *arguments):
        """-> what the process answers, or None where it fails."""
        if self.failure:
            return None
        try:
            return self.executor.submit(do, *arguments).result()
        except (worker.Unavailable, BrokenProcessPool) as error:
            self.failure = textwrap.shorten(str(error).replace("|", "/"), 120)

    def prepare(self, task, expected):
        """Take up a task; one that could not be done says nothing about the next."""
        self.failure, self.seconds = None, []
        self.ask(worker.prepare, self.peer, task, self.threads, expected)

    def warm_up(self, seconds):
        """Train for an epoch, and choose for turns the epochs that take so many seconds."""
        epoch = self.ask(worker.turn, 1)
        self.epochs = None if epoch is None else math.ceil(seconds / epoch)

    def turn(self):
        """``seconds`` has the seconds per epoch of every turn."""
        self.seconds.append(self.ask(worker.turn, self.epochs))

    def first_fit(self, task):
        """-> version of the library, seconds, bytes; or None."""
        return self.ask(worker.first_fit, self.peer, task, self.threads)
