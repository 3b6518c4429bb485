"""Native steps in other settings than relu, Adam and float32, recorded, with more threads, of few rows; prediction."""

from time import perf_counter

import numpy as np

import bpfast as bp
from bpfast import backends
from bpfast.ops import LOSSES

from . import conditions
from .common import Fit, native, need, race
from .workloads import ROWS, SEED, WORKLOADS, Workload

SETTINGS = {
    **{name: {"activation": name} for name in ("sigmoid", "tanh", "gelu", "silu", "mish")},
    "SGD": {"optimizer": bp.SGD(1e-3)},
    "Momentum": {"optimizer": bp.Momentum(1e-3)},
    "RMSProp": {"optimizer": bp.RMSProp(1e-3)},
    "AdamW": {"optimizer": bp.AdamW(1e-3)},
    "L2": {"regularizer": bp.L2(1e-4)},
    "ClipGlobalNorm": {"clip": bp.ClipGlobalNorm(1.0)},
}
ROUNDS = 5


def fit(workload, dtype="float32", **options):
    """Who trains it in native, with one thread unless the options say otherwise."""
    return Fit(workload, dtype, *workload.data(dtype), "native", **{"n_threads": 1} | options)


def ratio(contestant, rival):
    """The rival's time over the contestant's, of the fastest rounds in which they take turns."""
    fastest, fastest_rival = race(contestant, rival, rounds=ROUNDS, seconds=0.03)[0].min(axis=1)
    return fastest_rival / fastest


def microseconds(call, rounds):
    """Of the fastest call of many."""
    fastest = np.inf
    for _ in range(rounds):
        begin = perf_counter()
        call()
        fastest = min(fastest, perf_counter() - begin)
    return 1e6 * fastest


class Setting:
    params, param_names = [*SETTINGS], ["setting"]

    def setup(self, setting):
        need("native")

    def track_cost_on_medium(self, setting):
        """The time of a step over that with relu, Adam and no restraint."""
        return ratio(fit(WORKLOADS["medium"]), fit(WORKLOADS["medium"], **SETTINGS[setting]))

    track_cost_on_medium.unit = "times relu and Adam"


class Double:
    params, param_names = ["small", "medium", "large"], ["workload"]

    def setup(self, workload):
        need("native")

    def track_cost_of_float64(self, workload):
        return ratio(fit(WORKLOADS[workload]), fit(WORKLOADS[workload], "float64"))

    track_cost_of_float64.unit = "times float32"


class Recording:
    params, param_names = ["small", "medium"], ["workload"]

    def setup(self, workload):
        need("native")

    def track_cost_of_recording(self, workload):
        """The time of a step when every hundredth, and the last of every epoch, is recorded."""
        return ratio(fit(WORKLOADS[workload]), fit(WORKLOADS[workload], record_every=100))

    track_cost_of_recording.unit = "times none"


class Threads:
    params, param_names = [*WORKLOADS], ["workload"]

    def setup(self, workload):
        need("native")
        if len(conditions.CORES) < 2:
            raise NotImplementedError("needs two cores")

    def track_speed_of_two_threads(self, workload):
        conditions.use_all_cores()
        try:
            return ratio(fit(WORKLOADS[workload], n_threads=2), fit(WORKLOADS[workload]))
        finally:
            conditions.begin()

    track_speed_of_two_threads.unit = "times one thread"


class Rows:
    params, param_names = [1, 8], ["batch"]

    def setup(self, batch):
        need("native")

    def track_step_of_small(self, batch):
        contestant = fit(WORKLOADS["small"], batch_size=batch)
        return 1e6 * race(contestant, rounds=ROUNDS, seconds=0.03)[0].min() * batch / ROWS

    track_step_of_small.unit = "us"


class Limits:
    def setup(self):
        need("native")

    def track_thousand_epochs(self):
        """Of 13-50-1 on 150 rows in batches of 32; nothing in Python looks at an epoch's end."""
        tiny = WORKLOADS["tiny"]
        X, y = tiny.data("float32", rows=150)
        trainer = tiny.trainer("native", "float32", n_threads=1)
        return 1e-3 * microseconds(lambda: trainer.fit(X, y, epochs=1000, verbose=False), ROUNDS)

    track_thousand_epochs.unit = "ms"

    def track_predict_one_row(self):
        """Through small and ``Network.predict``."""
        net, X = WORKLOADS["small"].network("float32"), WORKLOADS["small"].data("float32", rows=1)[0]
        return microseconds(lambda: net.predict(X), 5000)

    track_predict_one_row.unit = "us"

    def track_predict_batch(self):
        """8192 rows through medium, with the check of the inputs."""
        medium = WORKLOADS["medium"]
        net, X = medium.network("float32"), medium.data("float32")[0]
        flops = 2 * ROWS * sum(n_in * n_out for n_in, n_out in zip(medium.widths, medium.widths[1:]))
        peak = max(native.fma_peak() for _ in range(ROUNDS))
        return 100 * (1e-3 * flops / microseconds(lambda: net.predict(X), ROUNDS)) / peak  # GFLOP/s of GFLOP/s

    track_predict_batch.unit = "% of FMA peak"

    def track_softmax_of_1000(self):
        """The loss of 1000 classes over a step of 784-1024-1024-1000, batch 256."""
        wide, rng = Workload((784, 1024, 1024, 1000), 256, 1), np.random.default_rng(SEED)
        step = 1e6 * race(fit(wide), rounds=3, seconds=0.03)[0].min() / wide.steps
        z, t, mean = rng.standard_normal((256, 1000), "float32"), rng.integers(0, 1000, 256), np.full(256, 1 / 256)
        kernels = backends.kernels("native", "float32")
        return 100 * microseconds(lambda: kernels.loss(LOSSES["softmax_cross_entropy"], z, t, mean), 100) / step

    track_softmax_of_1000.unit = "% of a step"
