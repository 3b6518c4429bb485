"""A step of training in float32: five workloads, and who runs them.

"native" and "numba" are backends, "reference" is the one called "numpy", and "numpy" is NumpyStep, the one to beat.
"""

import sys

from .common import contestant, describe, need, race
from .workloads import WORKLOADS

RUNNERS = ["native", "numba", "reference", "numpy"]


class Workload:
    """The parameters that all have in common."""

    params = ([*WORKLOADS], RUNNERS)
    param_names = ("workload", "runner")

    def setup(self, workload, runner):
        need(runner)
        self.workload = WORKLOADS[workload]
        self.contestant = contestant(runner, self.workload, "float32")


class Step(Workload):
    def time_epoch(self, workload, runner):
        self.contestant.epochs(1)


class Ratio(Workload):
    params = ([*WORKLOADS], ["native"])  # compiling numba anew for each takes long; Step has its times

    def setup(self, workload, runner):
        super().setup(workload, runner)
        print(*describe(), sep="\n", file=sys.stderr)

    def track_ratio_to_numpy(self, workload, runner):
        """How many times as fast as NumpyStep."""
        rival = contestant("numpy", self.workload, "float32")
        seconds, _ = race(self.contestant, rival, rounds=5, seconds=0.03)
        fastest, fastest_rival = seconds.min(axis=1)
        return fastest_rival / fastest

    track_ratio_to_numpy.unit = "times as fast"


class Peak(Workload):
    params = ([*WORKLOADS], ["native", "numpy"])

    def setup(self, workload, runner):
        need("native")  # it measures the peak
        super().setup(workload, runner)

    def track_percent_of_peak(self, workload, runner):
        """Of the fused multiply-adds that the core can do; only the products of the step count as work."""
        seconds, peak = race(self.contestant, rounds=8, seconds=0.03)
        return 100 * self.workload.flops * self.workload.steps / seconds.min() / peak

    track_percent_of_peak.unit = "% of FMA peak"
