"""JAX: an epoch is one compiled scan over the batches, which updates in place; the order comes from outside."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RATE = 1e-3


class Jax:
    version = jax.__version__

    def __init__(self, workload, X, y, layers, threads):
        # threads: as many as cores, to which this process is pinned
        self.initial, self.shape = layers, (-1, workload.steps, workload.batch)
        regression = workload.loss == "squared_error"
        self.X, self.y = jnp.asarray(X), jnp.asarray(y if regression else np.eye(workload.widths[-1], dtype=X.dtype)[y])
        self.epoch = partial(epoch, regression)

    def ready(self, orders):
        self.orders = [*jnp.asarray(orders.reshape(self.shape))]
        zeros = jax.tree.map(jnp.zeros_like, self.initial)
        self.state = jax.tree.map(jnp.array, (self.initial, zeros, zeros, 0))  # copies: an epoch overwrites them

    def train(self):
        for order in self.orders:
            self.state, self.losses = self.epoch(self.state, self.X, self.y, order)
        jax.block_until_ready(self.state)

    def layers(self):
        return jax.tree.map(np.asarray, self.state[0])


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def epoch(regression, state, X, y, order):
    """Steps of Adam on order (steps, batch); -> state (layers, first and second moments, steps), losses (steps,)."""

    def loss(layers, x, t):
        *hidden, (weight, bias) = layers
        for hidden_weight, hidden_bias in hidden:
            x = jax.nn.relu(x @ hidden_weight + hidden_bias)
        z = x @ weight + bias
        if regression:
            return 0.5 * jnp.mean((z - t) ** 2)
        return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.sum(z * t, axis=1))

    def step(state, rows):
        layers, m, v, steps = state
        value, g = jax.value_and_grad(loss)(layers, X[rows], y[rows])
        steps = steps + 1
        correction = jnp.sqrt(1 - BETA2**steps)
        rate, epsilon = RATE * correction / (1 - BETA1**steps), EPSILON * correction
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        layers = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + epsilon), layers, m, v)
        return (layers, m, v, steps), value

    return jax.lax.scan(step, state, order)
