/* Optimizers, row for row the twin of updates.py:  UPDATEn(name, the n slots, rule for one parameter w)
 * g is the gradient, c0, c1, ... are the coefficients of the step in their order. */
UPDATE0(sgd,
    w = FMA(-c0, g, w))
UPDATE1(momentum, v,
    v = FMA(c0, v, g);
    w = FMA(-c1, v, w))
UPDATE1(nesterov, v,
    v = FMA(c0, v, g);
    w = FMA(-c1, FMA(c0, v, g), w))
UPDATE1(adagrad, v,
    v = FMA(g, g, v);
    w = w - c0 * g / (bp_sqrt(v) + c1))
UPDATE1(rmsprop, v,
    v = FMA(c0, v, c1 * (g * g));
    w = w - c2 * g / (bp_sqrt(v) + c3))
UPDATE2(rmsprop_momentum, v, b,
    v = FMA(c0, v, c1 * (g * g));
    b = FMA(c4, b, g / (bp_sqrt(v) + c3));
    w = FMA(-c2, b, w))
UPDATE3(rmsprop_centered, v, b, m,
    v = FMA(c0, v, c1 * (g * g));
    m = FMA(c0, m, c1 * g);
    const real variance = FMA(-m, m, v);
    b = FMA(c4, b, g / (bp_sqrt(variance < 0 ? 0 : variance) + c3));
    w = FMA(-c2, b, w))
UPDATE2(adadelta, v, d,
    v = FMA(c0, v, c1 * (g * g));
    const real step = bp_sqrt(d + c3) / bp_sqrt(v + c3) * g;
    d = FMA(c0, d, c1 * (step * step));
    w = FMA(-c2, step, w))
UPDATE2(adam, m, v,
    m = FMA(c0, m, c1 * g);
    v = FMA(c2, v, c3 * (g * g));
    w = w - c4 * m / (bp_sqrt(v) + c5))
UPDATE2(adamax, m, u,
    m = FMA(c0, m, c1 * g);
    const real size = bp_abs(g) + c4;
    u = size < c2 * u ? c2 * u : size;
    w = w - c3 * m / u)
UPDATE2(nadam, m, v,
    m = FMA(c0, m, c1 * g);
    v = FMA(c2, v, c3 * (g * g));
    w = w - FMA(c4, g, c5 * m) / (bp_sqrt(v) + c6))
UPDATE3(amsgrad, m, v, u,
    m = FMA(c0, m, c1 * g);
    v = FMA(c2, v, c3 * (g * g));
    u = v < u ? u : v;
    w = w - c4 * m / (bp_sqrt(u) + c5))
UPDATE2(adamw, m, v,
    m = FMA(c0, m, c1 * g);
    v = FMA(c2, v, c3 * (g * g));
    w = FMA(c6, w, -c4 * m / (bp_sqrt(v) + c5)))
UPDATE1(lion, m,
    const real step = FMA(c0, m, c1 * g);
    m = FMA(c2, m, c3 * g);
    w = FMA(c5, w, -c4 * bp_sign(step)))
UPDATE2(rprop, delta, previous,
    const real turn = g * previous;
    delta = (delta == 0 ? c0 : delta) * (turn > 0 ? c2 : turn < 0 ? c1 : 1);
    delta = delta < c3 ? c3 : delta;
    delta = delta > c4 ? c4 : delta;
    previous = turn < 0 ? 0 : g;
    w = FMA(-bp_sign(previous), delta, w))
