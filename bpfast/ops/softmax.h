/* Softmax and cross-entropy over rows, the twin of softmax.py.
 * Rows are ld apart; columns n .. round_up(n, BP_LANES) are padding, readable, and written as zeros. */

static real row_max(const real *z, ptrdiff_t n) {
    vec most = splat(z[0]);
    for (ptrdiff_t j = 0; j < n; j += VL) most = larger(choose(is_first(n - j), loadu(z + j), most), most);
    return largest(most);
}

/* e = exp(z - m), zero in the padding; -> sum e. */
static real shifted_exp(real *e, const real *z, real m, ptrdiff_t n) {
    ptrdiff_t padded = round_up(n, BP_LANES);
    for (ptrdiff_t j = 0; j < padded; j += BP_LANES)
        for (int l = 0; l < BP_LANES; l++) e[j + l] = bp_exp(z[j + l] - m);
    for (ptrdiff_t j = n / VL * VL; j < padded; j += VL) storeu(e + j, first_of(loadu(e + j), n - j));
    return lane_sum(e, padded);
}

static void softmax_forward(void *Y, const void *X, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const double *hyper) {
    (void)hyper;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *x = (const real *)X + r * ld;
        real *y = (real *)Y + r * ld;
        const vec sum = splat(shifted_exp(y, x, row_max(x, n), n));
        for (ptrdiff_t j = 0; j < n; j += VL) storeu(y + j, first_of(loadu(y + j) / sum, n - j));
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

/* sum z_j over n numbers, of which no padding is read. */
static real row_sum(const real *z, ptrdiff_t n) {
    ptrdiff_t whole = n / BP_LANES * BP_LANES;
    real sum = lane_sum(z, whole);
    for (ptrdiff_t j = whole; j < n; j++) sum += z[j];
    return sum;
}

/* q = (1 - smoothing) onehot(t) + smoothing / n.  values = -sum_j q_j log y_j;  dy = -mean * q / y. */
static void cross_entropy(double *values, void *DY, const void *Y, const void *T, const double *mean, ptrdiff_t rows,
                          ptrdiff_t n, ptrdiff_t ld, const double *hyper) {
    const real at_t = (real)(1 - hyper[0]), everywhere = (real)(hyper[0] / (double)n);
    const ptrdiff_t padded = round_up(n, BP_LANES);
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *y = (const real *)Y + r * ld, share = (real)mean[r];
        real *dy = (real *)DY + r * ld;
        ptrdiff_t t = ((const int64_t *)T)[r];
        INDEPENDENT for (ptrdiff_t j = 0; j < padded; j++) dy[j] = log_least(y[j]);
        values[r] = -(everywhere * row_sum(dy, n) + at_t * dy[t]);
        INDEPENDENT for (ptrdiff_t j = 0; j < n; j++) dy[j] = -share * everywhere / at_least(y[j]);
        dy[t] -= share * at_t / at_least(y[t]);
        for (ptrdiff_t j = n; j < padded; j++) dy[j] = 0;
    }
}

/* The same of y = softmax(z):  values = log sum_j exp(z_j) - sum_j q_j z_j;  dz = mean * (softmax(z) - q). */
static void softmax_cross_entropy(double *values, void *DZ, const void *Z, const void *T, const double *mean,
                                  ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const double *hyper) {
    const real smoothing = (real)hyper[0], at_t = (real)(1 - hyper[0]), everywhere = (real)(hyper[0] / (double)n);
    enum { CHUNK = 64 }; /* rows whose logarithms are taken together */
    for (ptrdiff_t begin = 0; begin < rows; begin += CHUNK) {
        ptrdiff_t end = smaller(begin + CHUNK, rows);
        real sums[CHUNK], shifts[CHUNK];
        for (ptrdiff_t r = begin; r < end; r++) {
            const real *z = (const real *)Z + r * ld;
            real *dz = (real *)DZ + r * ld, share = (real)mean[r], rest = everywhere * share;
            ptrdiff_t t = ((const int64_t *)T)[r];
            real m = row_max(z, n), target = z[t], sum = shifted_exp(dz, z, m, n);
            if (smoothing > 0) target = FMA(smoothing, row_sum(z, n) / (real)n, at_t * target);
            for (ptrdiff_t j = 0; j < n; j += VL)
                storeu(dz + j, first_of(VFMA(loadu(dz + j) / splat(sum), splat(share), splat(-rest)), n - j));
            dz[t] -= at_t * share;
            sums[r - begin] = sum;
            shifts[r - begin] = m - target;
        }
        for (ptrdiff_t r = begin; r < end; r++) values[r] = bp_log(sums[r - begin]) + shifts[r - begin];
    }
}
