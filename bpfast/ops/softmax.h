/* Softmax and cross-entropy over rows, the twin of softmax.py.
 * Rows are ld apart; columns n .. round_up(n, BP_LANES) are padding, readable, and written as zeros. */

static real row_max(const real *z, ptrdiff_t n) {
    real m = z[0];
    ptrdiff_t j = 1;
    if (n >= BP_LANES) { /* the order of comparisons changes no maximum */
        real lanes[BP_LANES];
        for (int l = 0; l < BP_LANES; l++) lanes[l] = z[l];
        for (j = BP_LANES; j + BP_LANES <= n; j += BP_LANES)
            for (int l = 0; l < BP_LANES; l++) lanes[l] = z[j + l] > lanes[l] ? z[j + l] : lanes[l];
        for (int l = 0; l < BP_LANES; l++) m = lanes[l] > m ? lanes[l] : m;
    }
    for (; j < n; j++) m = z[j] > m ? z[j] : m;
    return m;
}

/* e = exp(z - m), zero in the padding; -> sum e. */
static real shifted_exp(real *e, const real *z, real m, ptrdiff_t n) {
    ptrdiff_t padded = round_up(n, BP_LANES);
    for (ptrdiff_t j = 0; j < padded; j += BP_LANES)
        for (int l = 0; l < BP_LANES; l++) e[j + l] = bp_exp(z[j + l] - m);
    for (ptrdiff_t j = n; j < padded; j++) e[j] = 0;
    return lane_sum(e, padded);
}

static void softmax_forward(void *Y, const void *X, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const double *hyper) {
    (void)hyper;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *x = (const real *)X + r * ld;
        real *y = (real *)Y + r * ld;
        real sum = shifted_exp(y, x, row_max(x, n), n);
        for (ptrdiff_t j = 0; j < n; j++) y[j] = y[j] / sum;
    }
}

static void softmax_adjoint(void *DX, const void *DY, const void *X, const void *Y, ptrdiff_t rows, ptrdiff_t n,
                            ptrdiff_t ld, const double *hyper) {
    (void)X, (void)hyper;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *dy = (const real *)DY + r * ld, *y = (const real *)Y + r * ld;
        real *dx = (real *)DX + r * ld;
        real s = lane_dot(dy, y, n);
        for (ptrdiff_t j = 0; j < n; j++) dx[j] = y[j] * (dy[j] - s);
    }
}

/* values = log sum_j exp(z_j) - z_t;  dz = mean * (softmax(z) - onehot(t)). */
static void cross_entropy(double *values, void *DZ, const void *Z, const void *T, const double *mean, ptrdiff_t rows,
                          ptrdiff_t n, ptrdiff_t ld, const double *hyper) {
    (void)hyper;
    enum { CHUNK = 64 }; /* rows whose logarithms are taken together */
    for (ptrdiff_t begin = 0; begin < rows; begin += CHUNK) {
        ptrdiff_t end = smaller(begin + CHUNK, rows);
        real sums[CHUNK], shifts[CHUNK];
        for (ptrdiff_t r = begin; r < end; r++) {
            const real *z = (const real *)Z + r * ld;
            real *dz = (real *)DZ + r * ld, share = (real)mean[r];
            ptrdiff_t t = ((const int64_t *)T)[r];
            real m = row_max(z, n), target = z[t], sum = shifted_exp(dz, z, m, n);
            for (ptrdiff_t j = 0; j < n; j++) dz[j] = dz[j] / sum * share;
            dz[t] -= share;
            sums[r - begin] = sum;
            shifts[r - begin] = m - target;
        }
        for (ptrdiff_t r = begin; r < end; r++) values[r] = bp_log(sums[r - begin]) + shifts[r - begin];
    }
}
