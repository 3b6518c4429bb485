"""One layer is the delta rule, several layers are the generalised delta rule, number for number.

E = 1/2 sum (t - y)^2, averaged over n rows; net = X W + b, y = f(net).   Rumelhart, Hinton & Williams 1986.
"""

import numpy as np
import pytest

import bpfast as bp


def network(layers, n_in, dtype, rng):
    """A network whose parameters are multiples of 1/4: products and sums of such numbers have no rounding."""
    net = bp.Network(layers, input_shape=n_in, dtype=dtype)
    for name, array in net.parameters.items():
        net.parameters[name] = rng.integers(-8, 9, array.shape) / 4
    return net


@pytest.mark.parametrize("n_out", [1, 3, 20])
def test_one_linear_layer(engine, dtype, rng, n_out):
    """dW = (eta / n) X^T delta with delta = t - y, exactly: every number here is a small multiple of a power of two."""
    n, n_in, eta = 16, 5, 0.125
    X = rng.integers(-3, 4, (n, n_in)).astype(dtype)
    T = rng.integers(-3, 4, (n, n_out)).astype(dtype)
    net = network([bp.Dense(n_out)], n_in, dtype, rng)
    W, b = net.parameters["0.weight"].copy(), net.parameters["0.bias"].copy()

    delta = T - (X @ W + b)
    dW = eta / n * X.T @ delta
    db = eta / n * delta.sum(axis=0)

    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(eta), batch_size=n, backend=engine)
    loss, gradients = trainer.loss_and_gradients(X, T)
    assert loss == 0.5 * (delta**2).sum() / n
    np.testing.assert_array_equal(-eta * gradients["0.weight"], dW)
    np.testing.assert_array_equal(-eta * gradients["0.bias"], db)

    trainer.fit(X, T, epochs=1)
    np.testing.assert_array_equal(net.parameters["0.weight"], W + dW)
    np.testing.assert_array_equal(net.parameters["0.bias"], b + db)


def test_batches_in_turn(engine, dtype, rng):
    """Each batch of an epoch is a delta-rule step of its own; the last, smaller one divides by its own rows."""
    n_in, eta = 4, 0.5
    X = rng.integers(-1, 2, (10, n_in)).astype(dtype)
    t = rng.integers(-1, 2, (10, 1)).astype(dtype)
    net = network([bp.Dense(1)], n_in, dtype, rng)
    W, b = net.parameters["0.weight"].copy(), net.parameters["0.bias"].copy()
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        delta = t[rows] - (X[rows] @ W + b)
        W = W + eta / len(delta) * X[rows].T @ delta
        b = b + eta / len(delta) * delta.sum(axis=0)
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(eta), batch_size=4, backend=engine)
    trainer.fit(X, t, epochs=1, shuffle=False)
    np.testing.assert_array_equal(net.parameters["0.weight"], W)
    np.testing.assert_array_equal(net.parameters["0.bias"], b)


@pytest.mark.parametrize("n_out", [1, 3, 20])
def test_several_linear_layers(engine, dtype, rng, n_out):
    """delta^h = delta^(h+1) (W^(h+1))^T with f' = 1, exactly, three layers deep."""
    n, n_in = 8, 3
    X = rng.integers(-2, 3, (n, n_in)).astype(dtype)
    T = rng.integers(-2, 3, (n, n_out)).astype(dtype)
    net = network([bp.Dense(4), bp.Dense(18), bp.Dense(n_out)], n_in, dtype, rng)
    W = [net.parameters[f"{h}.weight"] for h in range(3)]
    b = [net.parameters[f"{h}.bias"] for h in range(3)]

    out = [X]
    for h in range(3):
        out.append(out[h] @ W[h] + b[h])
    delta = [None, None, T - out[3]]
    delta[1] = delta[2] @ W[2].T
    delta[0] = delta[1] @ W[1].T

    gradients = bp.Trainer(net, loss="squared_error", backend=engine).loss_and_gradients(X, T)[1]
    for h in range(3):
        np.testing.assert_array_equal(gradients[f"{h}.weight"], -out[h].T @ delta[h] / n)
        np.testing.assert_array_equal(gradients[f"{h}.bias"], -delta[h].sum(axis=0) / n)


def sigmoid(net):
    return 1 / (1 + np.exp(-net))


RULES = {  # f, f'(net) as textbooks write it
    "sigmoid": (sigmoid, lambda net: sigmoid(net) * (1 - sigmoid(net))),
    "tanh": (np.tanh, lambda net: 1 / np.cosh(net) ** 2),
    "relu": (lambda net: np.maximum(net, 0), lambda net: (net > 0).astype(float)),
}


@pytest.mark.parametrize("n_out", [1, 3, 20])
@pytest.mark.parametrize("name", RULES)
def test_the_generalised_rule(engine, rng, name, n_out):
    """delta^h = delta^(h+1) (W^(h+1))^T * f'(net^h), and dW^h = (eta / n) out^(h-1)^T delta^h, for every layer h."""
    f, derivative = RULES[name]
    n, n_in, eta = 7, 5, 0.1
    X, T = rng.normal(size=(n, n_in)), rng.normal(size=(n, n_out))
    net = bp.Network([bp.Dense(6, name), bp.Dense(17, name), bp.Dense(n_out, name)],
                     input_shape=n_in, dtype="float64", seed=1)
    W = [net.parameters[f"{h}.weight"].copy() for h in range(3)]
    b = [net.parameters[f"{h}.bias"].copy() for h in range(3)]

    nets, out = [], [X]
    for h in range(3):
        nets.append(out[h] @ W[h] + b[h])
        out.append(f(nets[h]))
    delta = [None, None, (T - out[3]) * derivative(nets[2])]
    for h in (1, 0):
        delta[h] = delta[h + 1] @ W[h + 1].T * derivative(nets[h])

    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(eta), batch_size=n, backend=engine)
    trainer.fit(X, T, epochs=1, shuffle=False)
    for h in range(3):
        weight, bias = net.parameters[f"{h}.weight"], net.parameters[f"{h}.bias"]
        np.testing.assert_allclose(weight, W[h] + eta / n * out[h].T @ delta[h], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(bias, b[h] + eta / n * delta[h].sum(axis=0), rtol=1e-12, atol=1e-14)


# -- the perceptron: E passes through the step, so that dW = eta X^T (t - y) -----------------------------------


def separable(rng, n, n_in, margin):
    """Rows of length 1 at most and their classes 0 and 1; a unit vector (weight, bias) tells them apart by a margin."""
    direction = rng.normal(size=n_in)
    plane = np.append(direction / np.linalg.norm(direction), 0.1)
    plane /= np.linalg.norm(plane)
    X = rng.uniform(-1, 1, (20 * n, n_in)) / np.sqrt(n_in)
    side = X @ plane[:-1] + plane[-1]
    X, side = X[np.abs(side) > margin][:n], side[np.abs(side) > margin][:n]
    return X, (side > 0).astype(float)


@pytest.mark.parametrize("n_in", [1, 2, 10])
def test_the_perceptron_converges(engine, dtype, rng, n_in):
    """From zero weights it errs at most (R / margin)^2 times (Novikoff 1962), R^2 = 2 with the bias's input of 1."""
    margin = 0.2
    X, t = separable(rng, 40, n_in, margin)
    net = bp.Network([bp.Dense(1, "step", initializer="zeros")], input_shape=n_in, dtype=dtype)
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(1.0), batch_size=1, backend=engine, seed=1)
    history = trainer.fit(X, t, epochs=51)  # an epoch with an error in it makes at least one of the 50
    assert 0 < 2 * history["loss"].sum() * len(X) <= 2 / margin**2
    assert history["loss"][-1] == 0
    np.testing.assert_array_equal(net.predict(X)[:, 0], t)


def test_steps_of_the_perceptron(engine, dtype, rng):
    """w <- w + eta (t - y) x, row by row, exactly.   Source: Rosenblatt 1958."""
    n, n_in, eta = 40, 6, 0.25
    X, t = rng.integers(-3, 4, (n, n_in)).astype(dtype), rng.integers(0, 2, (n, 3)).astype(dtype)
    net = network([bp.Dense(3, "step")], n_in, dtype, rng)
    W, b = net.parameters["0.weight"].copy(), net.parameters["0.bias"].copy()
    for x, target in zip(X, t):
        y = (x @ W + b >= 0).astype(dtype)
        W += eta * np.outer(x, target - y)
        b += eta * (target - y)
    trainer = bp.Trainer(net, loss="squared_error", optimizer=bp.SGD(eta), batch_size=1, backend=engine)
    trainer.fit(X, t, epochs=1, shuffle=False)
    np.testing.assert_array_equal(net.parameters["0.weight"], W)
    np.testing.assert_array_equal(net.parameters["0.bias"], b)
