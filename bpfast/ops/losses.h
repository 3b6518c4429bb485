/* Losses, row for row the twin of losses.py:
 *  ROW(name, value of an element, its gradient)   of y and t; summed over the outputs
 *  ROWWISE(name)                                  a function of whole rows */
ROW(squared_error, (real)0.5 * (y - t) * (y - t), y - t)
ROWWISE(cross_entropy)
