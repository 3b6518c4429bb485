/* Losses, row for row the twin of losses.py:
 *  SUM(name, value of an output, its gradient)    of y and t; summed over the outputs
 *  MEAN(name, value of an output, its gradient)   averaged over the outputs; h0, h1, ... are the hyperparameters
 *  ROWWISE(name)                                  a function of whole rows */
SUM(squared_error,       (real)0.5 * ((y - t) * (y - t)),           y - t)
MEAN(mean_squared_error, (y - t) * (y - t),                         2 * (y - t))
MEAN(mean_absolute_error, bp_abs(y - t),                            y < t ? -1 : y > t ? 1 : y - t)
MEAN(huber,              y - t > h0 ? h0 * (y - t - (real)0.5 * h0) : t - y > h0 ? h0 * (t - y - (real)0.5 * h0) : (real)0.5 * ((y - t) * (y - t)),
                         y - t > h0 ? h0 : t - y > h0 ? -h0 : y - t)
MEAN(quantile,           y < t ? h0 * (t - y) : (1 - h0) * (y - t), y < t ? -h0 : y > t ? 1 - h0 : y - t)
MEAN(log_cosh,           bp_abs(y - t) - bp_log1p(bp_tanh(bp_abs(y - t))), bp_tanh(y - t))
MEAN(binary_cross_entropy, -FMA(t, log_least(y), (1 - t) * log_least(1 - y)), (1 - t) / at_least(1 - y) - t / at_least(y))
MEAN(sigmoid_binary_cross_entropy, FMA(-t, y, y < 0 ? 0 : y) + bp_log1p(bp_exp(-bp_abs(y))), bp_sigmoid(y) - t)
MEAN(poisson,            FMA(-t, log_least(y), y),                  1 - t / at_least(y))
MEAN(exponential_poisson, FMA(-t, y, bp_exp(y)),                    bp_exp(y) - t)
MEAN(hinge,              t * y > 1 ? 0 : 1 - t * y,                 t * y < 1 ? -t : t * y >= 1 ? 0 : y)
ROWWISE(cross_entropy)
ROWWISE(softmax_cross_entropy)
