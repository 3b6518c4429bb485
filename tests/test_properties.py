"""What must hold of any network and any data, in every backend."""

import numpy as np
import pytest
from engines import BACKENDS, DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import targets_for
from strategies import last_for, layers

import bpfast as bp
from bpfast.ops import LOSSES

N_IN, N_OUT = 5, 3

every_backend = pytest.mark.parametrize("backend", BACKENDS)


any_case = given(layers(N_IN), st.sampled_from(sorted(LOSSES)), st.integers(2, 12), st.integers(0, 2**32))
settings = settings(max_examples=20)


class Case:
    """A network with a loss, and rows for it."""

    def __init__(self, backend, layers, loss, n, seed, dtype="float64"):
        layers = [*layers, bp.Dense(N_OUT, last_for(loss))]
        self.rng = np.random.default_rng(seed)
        self.network = bp.Network(layers, input_shape=N_IN, dtype=dtype, seed=seed)
        self.trainer = bp.Trainer(self.network, loss=loss, backend=backend)
        self.X = self.rng.normal(size=(n, N_IN))
        labels, numbers = self.rng.integers(N_OUT, size=n), self.rng.normal(size=(n, N_OUT))
        self.y = targets_for(LOSSES[loss], labels, numbers)
        self.weight = self.rng.uniform(0.5, 2, n)

    def derivatives(self, rows=slice(None), weight=None):
        """-> {name: derivative}, with "loss" and "X", of some rows."""
        arguments = self.X[rows], self.y[rows], self.weight[rows] if weight is None else weight
        loss, gradients = self.trainer.loss_and_gradients(*arguments)
        return {"loss": np.array(loss), **gradients, "X": self.trainer.input_gradient(*arguments)}


def check_same(found, expected):
    """Up to rounding."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-11, atol=1e-12 * (1 + np.abs(array).max()), err_msg=name)


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@settings
@any_case
def test_shapes(backend, dtype, layers, loss, n, seed):
    """Everything has the shape and the dtype that is promised, and is finite."""
    case = Case(backend, layers, loss, n, seed, dtype)
    net = case.network
    expected = {"loss": (), **{name: array.shape for name, array in net.parameters.items()}, "X": (n, N_IN)}
    found = case.derivatives()
    assert {name: array.shape for name, array in found.items()} == expected
    assert {array.dtype for name, array in found.items() if name != "loss"} == {np.dtype(dtype)}
    outputs = case.trainer.predict(case.X)
    assert outputs.shape == (n, N_OUT) and outputs.dtype == dtype
    values = net.activations(case.X)
    assert [value.shape for value in values] == [(n, *shape) for shape in net.program.value_shapes]
    assert all(np.isfinite(array).all() for array in (*found.values(), outputs, *values))


@every_backend
@settings
@any_case
def test_a_weight_of_zero_is_an_absent_row(backend, layers, loss, n, seed):
    case = Case(backend, layers, loss, n, seed)
    case.weight[case.rng.random(n) < 0.5] = 0
    case.weight[0] = 1
    kept = case.weight > 0
    found, expected = case.derivatives(), case.derivatives(kept)
    assert not found["X"][~kept].any()
    found["X"] = found["X"][kept]
    check_same(found, expected)


@every_backend
@settings
@any_case
def test_the_order_of_rows_does_not_matter(backend, layers, loss, n, seed):
    case = Case(backend, layers, loss, n, seed)
    order = case.rng.permutation(n)
    found, expected = case.derivatives(order), case.derivatives()
    check_same(found, {**expected, "X": expected["X"][order]})


@every_backend
@settings
@any_case
def test_a_batch_is_the_weighted_mean_of_its_parts(backend, layers, loss, n, seed):
    """Of single rows, too."""
    case = Case(backend, layers, loss, n, seed)
    whole = case.derivatives()
    inner = np.flatnonzero(case.rng.random(n - 1) < case.rng.random()) + 1
    for parts in (np.split(np.arange(n), inner), np.arange(n)[:, None]):
        shares = [case.weight[part].sum() / case.weight.sum() for part in parts]
        of_parts = [case.derivatives(part) for part in parts]
        summed = {name: sum(share * part[name] for share, part in zip(shares, of_parts))
                  for name in whole if name != "X"}
        check_same({**summed, "X": np.concatenate([share * part["X"] for share, part in zip(shares, of_parts)])}, whole)


@every_backend
@settings
@any_case
def test_only_the_proportions_of_weights_matter(backend, layers, loss, n, seed):
    case = Case(backend, layers, loss, n, seed)
    check_same(case.derivatives(weight=1e3 * case.weight), case.derivatives())
    check_same(case.derivatives(weight=np.full(n, 0.3)), case.derivatives(weight=np.ones(n)))
