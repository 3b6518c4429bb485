/* Activations, row for row the twin of activations.py:
 *  ROW(name, y = f(x), dx = g(dy, x, y))   h0, h1, ... are the hyperparameters in their order
 *  ROWWISE(name)                                      name_forward and name_adjoint work on whole rows */
ROW(linear,     x,                                     dy)
ROW(relu,       x < 0 ? 0 : x,                         y > 0 ? dy : y * 0)
ROW(leaky_relu, x < 0 ? h0 * x : x,                    x >= 0 ? dy : x < 0 ? h0 * dy : x)
ROW(sigmoid,    bp_sigmoid(x),                         dy * (y * (1 - y)))
ROW(tanh,       bp_tanh(x),                            dy * FMA(-y, y, 1))
ROW(gelu,       x * bp_normal_cdf(x),                  dy * FMA(x, INV_SQRT_2PI * bp_exp((real)-0.5 * x * x), bp_normal_cdf(x)))
ROWWISE(softmax)
