/* Sums behind the figures of a layer, the twin of figures.py: in double, down each column and then across. */

/* For every pixel of every row of a value whose numbers lie at x: STATEMENT for channels first .. first + width. */
#define FOR_COLUMNS(x, v, n_rows, STATEMENT)                                                                      \
    for (ptrdiff_t r = 0; r < (n_rows); r++)                                                                      \
        for (ptrdiff_t pixel = 0; pixel < (v)->h * (v)->w; pixel++) {                                             \
            const real *a = (const real *)(x) + r * (v)->ld + pixel * (v)->pitch + first;                         \
            for (ptrdiff_t j = 0; j < width; j++) STATEMENT;                                                      \
        }

/* Means of x and of x^2. */
static void powers(double means[2], const void *x, const bp_value *v, ptrdiff_t rows) {
    const double n = (double)(rows * v->h * v->w * v->c);
    means[0] = means[1] = 0;
    for (ptrdiff_t first = 0; first < v->c; first += PANEL) {
        const ptrdiff_t width = smaller(PANEL, v->c - first);
        double sums[PANEL] = {0}, squares[PANEL] = {0};
        FOR_COLUMNS(x, v, rows, (sums[j] += (double)a[j], squares[j] += (double)a[j] * (double)a[j]))
        for (ptrdiff_t j = 0; j < width; j++) means[0] += sums[j] / n, means[1] += squares[j] / n;
    }
}

/* The share of slopes below the least. */
static double flat(const void *slope, const bp_value *v, ptrdiff_t rows, double least) {
    const real most = (real)least;
    double share = 0;
    for (ptrdiff_t first = 0; first < v->c; first += PANEL) {
        const ptrdiff_t width = smaller(PANEL, v->c - first);
        int32_t found[PANEL] = {0};
        FOR_COLUMNS(slope, v, rows, found[j] += bp_abs(a[j]) < most)
        for (ptrdiff_t j = 0; j < width; j++) share += found[j];
    }
    return share / (double)(rows * v->h * v->w * v->c);
}

/* Marks the channels of which a slope is not below the least; -> how many are not marked. */
static ptrdiff_t active(char *marks, const void *slope, const bp_value *v, ptrdiff_t rows, double least) {
    const real most = (real)least;
    ptrdiff_t left = 0;
    for (ptrdiff_t first = 0; first < v->c; first += PANEL) {
        const ptrdiff_t width = smaller(PANEL, v->c - first);
        bits found[PANEL] = {0};
        if (!memchr(marks + first, 0, (size_t)width)) continue;
        FOR_COLUMNS(slope, v, rows, found[j] |= bp_abs(a[j]) >= most)
        for (ptrdiff_t j = 0; j < width; j++) left += !(marks[first + j] |= found[j] != 0);
    }
    return left;
}

/* sum a^2, sum a b, sum b^2, sum (a - b)^2 of n numbers, a multiple of a vector; in double from piece to piece. */
static void compare(double sums[4], const void *a, const void *b, ptrdiff_t n) {
    enum { PIECE = 16 * VL };
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    for (ptrdiff_t i = 0; i < n; i += PIECE) {
        vec of_piece[4] = {0};
        for (ptrdiff_t k = i; k < smaller(i + PIECE, n); k += VL) {
            const vec x = load((const real *)a + k), y = load((const real *)b + k), apart = x - y;
            of_piece[0] = VFMA(x, x, of_piece[0]), of_piece[1] = VFMA(x, y, of_piece[1]);
            of_piece[2] = VFMA(y, y, of_piece[2]), of_piece[3] = VFMA(apart, apart, of_piece[3]);
        }
        for (int s = 0; s < 4; s++)
            for (ptrdiff_t j = 0; j < VL; j++) sums[s] += (double)of_piece[s][j];
    }
}
