"""Threads of Python beside a fit, in one model, and in one Trainer."""

import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from promise import Broken, promise
from work import FULL, HUGE, LARGE, MEDIUM, SMALL, TINY, digest


@contextmanager
def in_another_thread(work):
    """``work(is_over)`` runs meanwhile in a thread, until ``is_over()``; what it raises is raised here in the end."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, over.is_set)
        try:
            yield
        finally:
            over.set()
    future.result()


SHAPES = {"-".join(map(str, work.widths)): work for work in (TINY, SMALL, MEDIUM, LARGE, HUGE)}
PAUSING = {**SHAPES, "10^6 x 64 in one batch": FULL}


@promise("longest pause of another Python thread during fit", 25, "ms", repeats=5, quick=1, cases=PAUSING)
def pause(n_threads, repeats, case):
    """-> the median of several Trainers', since other processes can only lengthen a pause."""
    work, longest = PAUSING[case], np.zeros(repeats)
    X, y = work.data()
    for i in range(repeats):
        trainer = work.trainer(n_threads)

        def look_at_the_clock(is_over, i=i):
            before = time.perf_counter()
            while not is_over():
                now = time.perf_counter()
                longest[i] = max(longest[i], now - before)
                before = now

        with in_another_thread(look_at_the_clock):
            end = time.perf_counter() + 0.5
            while time.perf_counter() < end:
                trainer.fit(X, y, epochs=3)
    return 1e3 * np.median(longest)


@promise("8 threads predict with one model: results other than in one thread", 0, repeats=1000, quick=50)
def predict(n_threads, repeats, case):
    X, trainer = SMALL.data()[0], SMALL.fitted(n_threads)
    parts = [X[begin:end] for begin, end in ((0, 1), (3, 40), (50, 400), (0, 2048), (7, 22), (100, 116))]
    expected = [trainer.predict(part) for part in parts]

    def count(thread):
        turns = [(thread + turn) % len(parts) for turn in range(repeats)]
        return sum(not np.array_equal(trainer.predict(parts[i]), expected[i]) for i in turns)

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(count, range(8)))


@promise("two models in two threads, times as fast as in turn", 1.7, repeats=9, quick=3, threads=(1,),
         cases=[name for name, work in SHAPES.items() if work in (SMALL, MEDIUM)], at_least=True)
def two_models(n_threads, repeats, case):
    """-> the ratio of the fastest rounds, since other processes can only slow a round down."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Broken("needs two cores")
    work, in_turn, at_once = SHAPES[case], [], []
    X, y = work.data()
    trainers = [work.fitted(n_threads), work.fitted(n_threads)]
    begin = time.perf_counter()
    trainers[0].fit(X, y, epochs=3)
    epochs = 3 * math.ceil(0.2 / (time.perf_counter() - begin))

    def run(trainer):
        trainer.fit(X, y, epochs=epochs)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(repeats):
            for seconds, apply in ((in_turn, map), (at_once, pool.map)):
                begin = time.perf_counter()
                list(apply(run, trainers))
                seconds.append(time.perf_counter() - begin)
    return min(in_turn) / min(at_once)


@promise("two threads in one Trainer: a second fit let in, or a first one disturbed", 0, repeats=50, quick=5)
def one_trainer(n_threads, repeats, case):
    expected, disturbed = digest(SMALL.fitted(n_threads, epochs=200)), 0
    for _ in range(repeats):
        trainer, let_in, refused = SMALL.trainer(n_threads), [], []

        def intrude(is_over, trainer=trainer, let_in=let_in, refused=refused):
            while not is_over():
                if trainer.history.n_epochs:  # the first fit goes on
                    try:
                        trainer.fit(*SMALL.data(), epochs=1)
                        let_in.append(not is_over())
                    except RuntimeError:
                        refused.append(trainer.predict(SMALL.data()[0]))

        with in_another_thread(intrude):
            trainer.fit(*SMALL.data(), epochs=200)
            found = digest(trainer)
        disturbed += found != expected or any(let_in) or not refused
    return disturbed
