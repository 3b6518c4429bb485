"""L-BFGS, for data small enough to look at as a whole before every step; SciPy takes the steps."""

import time

import numpy as np

from .data import check_integer, check_real
from .divergence import DivergenceError
from .extras import need
from .optimizers import Optimizer
from .regularizers import L1, L2, L2OfSum


class LBFGS(Optimizer):
    """Quasi-Newton steps, each along -H g with a line search, over all rows at once.

    H approximates the inverse of the second derivatives from the last ``max_history`` steps.
    Source: Liu & Nocedal 1989, algorithm 2.1; the program of Zhu, Byrd, Lu & Nocedal 1997 in SciPy (extra "scipy").

    An epoch is an iteration, "loss" in the history the loss after it; ``epochs`` is the most there may be, since the
    fit also ends when it has converged.  The trainer's ``batch_size``, and ``shuffle``, play no part.  Another ``fit``
    goes on from the parameters, with a new H.  SciPy computes in float64, the network in its own dtype: in float32
    the last digits of the loss are lost and the line search fails early, so prefer ``Network(..., dtype="float64")``.
    ``stop``, limits of time and Ctrl-C wait for the gradient under way, and leave the last finished iteration.

    Parameters
    ----------
    max_history : int
    gradient_tolerance : float
        Converged when no entry of the gradient is larger.
    loss_tolerance : float
        Converged when an iteration lowers the loss by a smaller share than this.
    """

    __slots__ = ("max_history", "gradient_tolerance", "loss_tolerance")

    formula, source = "w - a H g, a by line search", "Liu & Nocedal 1989; Zhu, Byrd, Lu & Nocedal 1997"
    update = learning_rate = None  # it has no rule for one parameter at a time

    def __init__(self, max_history=10, gradient_tolerance=1e-5, loss_tolerance=1e-9):
        need("scipy.optimize", "LBFGS")  # now: an interrupt of an import within a fit would be taken for an error of it
        self._set(
            max_history=check_integer(max_history, "LBFGS: max_history"),
            gradient_tolerance=check_real(gradient_tolerance, "LBFGS: gradient_tolerance", "[0, inf)"),
            loss_tolerance=check_real(loss_tolerance, "LBFGS: loss_tolerance", "[0, inf)"),
        )


def check_restraints(regularizer, clip):
    """Refuse what is done to steps and weights, not to the loss: a line search would not know of it."""
    several = regularizer.values() if isinstance(regularizer, dict) else [regularizer]
    strangers = [one for ones in several for one in ones if not isinstance(one, (L1, L2, L2OfSum))]
    if strangers or clip is not None:
        what = repr(strangers[0]) if strangers else repr(clip)
        raise ValueError(f"LBFGS minimizes a loss, which may have penalties, L1, L2 and L2OfSum; it cannot take {what}")


def minimize(optimizer, network, plan, state, rows, iterations, stopped, finished):
    """Take up to so many iterations from the parameters in ``state``; -> why they ended, in words.

    stopped()          asked before every gradient: -> whether to end at the last finished iteration
    finished(figures)  called after every iteration, whose parameters ``state`` then holds; it may load others,
                       to go on from; -> whether to end

    ``state`` ends as the last ``finished`` left it, also when an error or Ctrl-C comes.
    """
    from scipy import optimize

    scratch = network.copy()  # turns vectors into parameters

    def load(x):
        with np.errstate(over="ignore"):
            scratch.from_vector(x)
        state.load(scratch.arrays)

    def vector():
        state.store(scratch.arrays)
        return scratch.to_vector().astype(np.float64)

    def value(x):
        if stopped():
            raise Stopped
        load(x)
        loss = plan.gradient(state, workspace, rows) + plan.penalty(scratch.parameters, rows.weight_sum)
        if not np.isfinite(loss):
            raise DivergenceError(
                f"the loss of a trial step of L-BFGS, iteration {epoch + 1}, is not finite; the network is back where "
                "it was before. Try: smaller initial weights; inputs scaled to mean 0 and deviation 1"
            )
        gradient = np.concatenate([array.ravel() for array in state.gradients().values()])
        return loss, gradient.astype(np.float64)

    def callback(intermediate_result):
        nonlocal epoch, begin, start, moved, ended
        load(intermediate_result.x)
        expected = vector()
        state.save()
        figures = {"loss": float(intermediate_result.fun), "seconds": time.perf_counter() - begin}
        ended = finished(figures)
        state.save()
        epoch, begin, start = epoch + 1, time.perf_counter(), vector()
        moved = not np.array_equal(start, expected)  # by a callback, to where nothing is known of H
        if moved or ended:
            raise StopIteration

    epoch, begin, start, moved, ended = 0, time.perf_counter(), vector(), True, False
    state.save()
    try:
        with plan.workspace() as workspace:
            while moved and not ended and epoch < iterations:
                moved = False
                options = {"maxcor": optimizer.max_history, "gtol": optimizer.gradient_tolerance,
                           "ftol": optimizer.loss_tolerance, "maxiter": iterations - epoch, "maxfun": 2**31 - 1}
                result = optimize.minimize(
                    value, start, jac=True, method="L-BFGS-B", callback=callback, options=options
                )
        state.go_back()  # from the last trial step
    except BaseException as error:
        state.go_back()
        if isinstance(error, Stopped):
            return "it was stopped"
        raise
    return "it was stopped" if ended else result.message


class Stopped(Exception):
    """Ends SciPy's loop from within."""
