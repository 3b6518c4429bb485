/* Optimizers, row for row the twin of updates.py:  UPDATEn(name, the n slots, rule for one parameter w)
 * g is the gradient, c0, c1, ... are the coefficients of the step in their order. */
UPDATE0(sgd,
    w = FMA(-c0, g, w))
UPDATE2(adam, m, v,
    m = FMA(c0, m, c1 * g);
    v = FMA(c2, v, c3 * (g * g));
    w = w - c4 * m / (bp_sqrt(v) + c5))
