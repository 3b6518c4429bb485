/* Activations, row for row the twin of activations.py:
 *  ROW(name, y = f(x), dx = g(dy, x, y))   h0, h1, ... are the hyperparameters in their order
 *  RULE(name, y = f(x))                    dx = dy
 *  SAME(name)                              y = x, dx = dy
 *  ROWWISE(name)                           name_forward and name_adjoint work on whole rows */
SAME(linear)
ROW(relu,       x < 0 ? 0 : x,                         y > 0 ? dy : y * 0)
ROW(leaky_relu, x < 0 ? h0 * x : x,                    x >= 0 ? dy : x < 0 ? h0 * dy : x)
ROW(sigmoid,    bp_sigmoid(x),                         dy * (y * (1 - y)))
ROW(tanh,       bp_tanh(x),                            dy * FMA(-y, y, 1))
ROW(hard_sigmoid, (bp_clamp(x, -3, 3) + 3) / 6,        (y > 0) & (y < 1) ? dy / 6 : y * 0)
ROW(hard_tanh,  bp_clamp(x, -1, 1),                    (y > -1) & (y < 1) ? dy : y * 0)
ROW(softsign,   x / (1 + bp_abs(x)),                   ({ real r = 1 / (1 + bp_abs(x)); dy * (r * r); }))
ROW(gelu,       x * bp_normal_cdf(x),                  ({ bp_normal phi = bp_normal_at(x); dy * FMA(x, phi.density, phi.cdf); }))
ROW(gelu_tanh,  x / (1 + bp_exp(-x * FMA(GELU_B * x, x, GELU_A))),
    ({ real z = bp_clamp(x, -20, 20), q = z * z; dy * bp_swish_slope(z * FMA(GELU_B, q, GELU_A), z * FMA(3 * GELU_B, q, GELU_A)); }))
ROW(silu,       x / (1 + bp_exp(-x)),                  dy * bp_swish_slope(x, x))
ROW(mish,       ({ real e = bp_exp(x > 20 ? 20 : x), n = e * (e + 2); x * (n / (n + 2)); }),
    ({ real z = x > 20 ? 20 : x, e = bp_exp(z), n = e * (e + 2), d = 1 / (n + 2); dy * (d * FMA(z * d, 4 * (e * (e + 1)), n)); }))
ROW(softplus,   (x < 0 ? 0 : x) + bp_log1p(bp_exp(-bp_abs(x))), dy * bp_sigmoid(x))
ROW(elu,        x < 0 ? h0 * bp_expm1(x) : x,          x >= 0 ? dy : dy * (y + h0))
ROW(selu,       x < 0 ? SELU_SCALE * SELU_ALPHA * bp_expm1(x) : SELU_SCALE * x, y >= 0 ? SELU_SCALE * dy : dy * (y + SELU_SCALE * SELU_ALPHA))
ROW(relu6,      bp_clamp(x, 0, 6),                     (y > 0) & (y < 6) ? dy : y * 0)
ROW(exponential, bp_exp(x),                            dy * y)
RULE(step,      x < 0 ? 0 : x >= 0 ? 1 : x)
ROWWISE(softmax)
