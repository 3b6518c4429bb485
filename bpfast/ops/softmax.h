/* Softmax and cross-entropy over rows, the twin of softmax.py.
 * Rows are ld apart; columns n .. round_up(n, BP_LANES) are padding, readable, and written as zeros. */

static real row_max(const real *z, ptrdiff_t n) {
    vec most = splat(z[0]);
    for (ptrdiff_t j = 0; j < n; j += VL) most = larger(choose(is_first(n - j), loadu(z + j), most), most);
    return largest(most);
}

enum { CHUNK_ROWS = 64 }; /* whose logarithms are taken together */

/* Of some rows: m = max z_j, sum = sum exp(z_j - m), and each row's share of what is made of them. */
typedef struct {
    real most[CHUNK_ROWS], sum[CHUNK_ROWS], share[CHUNK_ROWS];
} softmax_of_rows;

/* y = share * (softmax(z) - everywhere), zero in the padding. */
static void softmax_row(real *y, const real *z, softmax_of_rows *of, ptrdiff_t r, real everywhere, ptrdiff_t n) {
    const real m = of->most[r] = row_max(z, n);
    const ptrdiff_t padded = round_up(n, BP_LANES);
    for (ptrdiff_t j = 0; j < padded; j += BP_LANES)
        for (int l = 0; l < BP_LANES; l++) y[j + l] = bp_exp(z[j + l] - m);
    for (ptrdiff_t j = n / VL * VL; j < padded; j += VL) storeu(y + j, first_of(loadu(y + j), n - j));
    const vec sum = splat(of->sum[r] = lane_sum(y, padded)), share = splat(of->share[r]), rest = splat(everywhere) * share;
    for (ptrdiff_t j = 0; j < n; j += VL) storeu(y + j, first_of(VFMA(loadu(y + j) / sum, share, -rest), n - j));
}

/* The same of VL rows of at most BP_LANES numbers, column by column with a lane for each row; the same bits. */
static void softmax_columns(real *y, const real *z, softmax_of_rows *of, ptrdiff_t r, real everywhere, ptrdiff_t n,
                            ptrdiff_t ld) {
    vec column[BP_LANES], sum[BP_LANES];
    for (ptrdiff_t j = 0; j < BP_LANES; j += VL) {
        for (ptrdiff_t i = 0; i < VL; i++) column[j + i] = loadu(z + i * ld + j);
        turn(column + j);
    }
    vec most = column[0];
    for (ptrdiff_t j = 1; j < n; j++) most = larger(column[j], most);
    for (ptrdiff_t j = 0; j < n; j++) {
        real *e = (real *)(column + j);
        for (int l = 0; l < VL; l++) e[l] = bp_exp(e[l] - most[l]);
    }
    for (ptrdiff_t j = 0; j < BP_LANES; j++) sum[j] = column[j] = j < n ? column[j] : splat(0);
    for (int half = BP_LANES / 2; half; half /= 2) /* as lane_sum folds them */
        for (int j = 0; j < half; j++) sum[j] += sum[j + half];
    const vec share = loadu(of->share + r), rest = splat(everywhere) * share;
    for (ptrdiff_t j = 0; j < n; j++) column[j] = VFMA(column[j] / sum[0], share, -rest);
    for (ptrdiff_t j = 0; j < BP_LANES; j += VL) {
        turn(column + j);
        for (ptrdiff_t i = 0; i < VL; i++) storeu(y + i * ld + j, column[j + i]);
    }
    storeu(of->most + r, most);
    storeu(of->sum + r, sum[0]);
}

static void softmax_rows(real *y, const real *z, softmax_of_rows *of, ptrdiff_t rows, real everywhere, ptrdiff_t n,
                         ptrdiff_t ld) {
    ptrdiff_t r = 0;
    if (n <= BP_LANES)
        for (; r + VL <= rows; r += VL) softmax_columns(y + r * ld, z + r * ld, of, r, everywhere, n, ld);
    for (; r < rows; r++) softmax_row(y + r * ld, z + r * ld, of, r, everywhere, n);
}

static void softmax_forward(void *Y, const void *X, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const double *hyper) {
    (void)hyper;
    softmax_of_rows of;
    for (ptrdiff_t r = 0; r < CHUNK_ROWS; r++) of.share[r] = 1;
    for (ptrdiff_t r = 0; r < rows; r += CHUNK_ROWS)
        softmax_rows((real *)Y + r * ld, (const real *)X + r * ld, &of, smaller(CHUNK_ROWS, rows - r), 0, n, ld);
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
    for (ptrdiff_t begin = 0; begin < rows; begin += CHUNK_ROWS) {
        const ptrdiff_t n_rows = smaller(CHUNK_ROWS, rows - begin);
        const real *z = (const real *)Z + begin * ld;
        real *dz = (real *)DZ + begin * ld;
        softmax_of_rows of;
        for (ptrdiff_t r = 0; r < n_rows; r++) of.share[r] = (real)mean[begin + r];
        softmax_rows(dz, z, &of, n_rows, everywhere, n, ld);
        for (ptrdiff_t r = 0; r < n_rows; r++, z += ld, dz += ld) {
            const ptrdiff_t t = ((const int64_t *)T)[begin + r];
            real target = z[t];
            if (smoothing > 0) target = FMA(smoothing, row_sum(z, n) / (real)n, at_t * target);
            dz[t] -= at_t * of.share[r];
            of.most[r] -= target;
        }
        for (ptrdiff_t r = 0; r < n_rows; r++) values[begin + r] = bp_log(of.sum[r]) + of.most[r];
    }
}
