"""Other processes: no hang, and the same bits."""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from promise import DEADLINE, THREADS, Broken, child, promise, receive
from threads import in_another_thread
from work import MEDIUM, SMALL, TINY, Work, digest

import bpfast as bp
from bpfast.backends import native


def small_digest(n_threads):
    return digest(SMALL.fitted(n_threads))


def send_small_digest(pipe, n_threads):
    pipe.send(small_digest(n_threads))


def fit_until(is_over):
    while not is_over():
        SMALL.fitted(max(THREADS))


METHODS = {
    "fork": ("fork", nullcontext),
    "fork beside a thread that fits": ("fork", lambda: in_another_thread(fit_until)),
    "spawn": ("spawn", nullcontext),
    "forkserver": ("forkserver", nullcontext),
}


@promise("fit, start a process, fit there and here: hangs or other bits", 0, repeats=20, quick=2, cases=METHODS)
def start(n_threads, repeats, case):
    method, meanwhile = METHODS[case]
    expected, failures = small_digest(n_threads), 0
    with meanwhile():
        for _ in range(repeats):
            with child(method, send_small_digest, n_threads) as (_, pipe):
                try:
                    failures += receive(pipe) != expected
                except Broken:
                    failures += 1
            failures += small_digest(n_threads) != expected
    return failures


@promise("the same in joblib's workers", 0, repeats=20, quick=1)
def loky(n_threads, repeats, case):
    if not importlib.util.find_spec("joblib"):
        raise Broken("needs joblib")
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    expected, failures = small_digest(n_threads), 0
    for _ in range(repeats):
        try:
            found = Parallel(2, timeout=DEADLINE)(delayed(small_digest)(n_threads) for _ in range(4))
            failures += found != [expected] * 4
        except TimeoutError:
            failures += 1
        get_reusable_executor().shutdown(kill_workers=True)  # so that the next ones are new
        failures += small_digest(n_threads) != expected
    return failures


BITS = {
    "1 output": TINY,
    "10 outputs": SMALL,
    "10 outputs, layers cut by units": MEDIUM,
    "17 outputs, clipped": Work((30, 170, 17), 500, 2000, clip=bp.ClipGlobalNorm(0.5)),
    "1000 outputs": Work((30, 64, 1000), 100, 500),
    "full batch": Work((64, 64, 1), "full", 5000),
    "residual blocks, norms, dropout": Work((192, 10), 64, 640, shape=(8, 8, 3), front=(
        bp.Conv2D(16, bias=False), bp.BatchNorm(), bp.Activation("relu"), bp.ResidualBlock(16), bp.MaxPool2D(),
        bp.ResidualBlock(20, stride=2), bp.LayerNorm(), bp.Flatten(), bp.Dropout(0.2))),
}
LEVELS = [level for level in native.cpu_levels() if level != "v2"]  # v2 has no fused multiply-add


@promise("SHA-256 of the weights over processes, CPU levels, threads, and fits at once", 1, "", repeats=4, quick=1,
         cases=BITS, threads=("1 to 4",))
def bits(n_threads, repeats, case):
    """-> how many there are."""
    work, counts = BITS[case], range(1, 5)
    found = {digest(work.fitted(n)) for n in counts}
    with ThreadPoolExecutor(2) as pool:
        found.update(map(digest, pool.map(work.fitted, [max(THREADS)] * 2 * repeats)))
    with child("spawn", send_digests, case, counts) as (_, pipe):
        found |= receive(pipe)
    return len(found)


def send_digests(pipe, case, counts):
    found = set()
    for level in LEVELS:
        os.environ["BPFAST_CPU"] = level
        found.update(digest(BITS[case].fitted(n)) for n in counts)
    pipe.send(found)
