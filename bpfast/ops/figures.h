/* Sums behind the figures of a layer, the twin of figures.py; from row to row they are taken in double. */

/* For every pixel of every row of a value whose numbers lie at `numbers`: STATEMENT, where x are channels j .. j + VL of
 * it, zeros behind the last, and END after the last of them. */
#define FOR_VECTORS(numbers, v, n_rows, STATEMENT, END)                                                           \
    for (ptrdiff_t r = 0; r < (n_rows); r++)                                                                      \
        for (ptrdiff_t pixel = 0; pixel < (v)->h * (v)->w; pixel++) {                                             \
            const real *a = (const real *)(numbers) + r * (v)->ld + pixel * (v)->pitch;                           \
            for (ptrdiff_t j = 0; j < (v)->c; j += VL) {                                                          \
                const vec x = first_of(loadu(a + j), (v)->c - j);                                                 \
                STATEMENT;                                                                                        \
            }                                                                                                     \
            END;                                                                                                  \
        }

INLINE vec magnitude(vec x) { return choose((ivec)(x < (vec){0}), -x, x); }
INLINE double total(vec x) {
    double sum = 0;
    for (int i = 0; i < VL; i++) sum += (double)x[i];
    return sum;
}
static double count(const bp_value *v, ptrdiff_t rows) { return (double)(rows * v->h * v->w * v->c); }

/* Means of x and of x^2, by those of x - c: what is far from zero and close together keeps its digits. */
static void powers(double means[2], const void *numbers, const bp_value *v, ptrdiff_t rows) {
    const double c = (double)*(const real *)numbers, n = count(v, rows);
    double first = 0, second = 0;
    vec apart, sum = {0}, squares = {0};
    FOR_VECTORS(numbers, v, rows,
                (apart = first_of(x - splat((real)c), v->c - j), sum += apart, squares = VFMA(apart, apart, squares)),
                (first += total(sum), second += total(squares), sum = squares = splat(0)))
    means[0] = c + first / n;
    means[1] = second / n + c * (2 * first / n + c);
}

/* The share of slopes below the least. */
static double flat(const void *slopes, const bp_value *v, ptrdiff_t rows, double least) {
    const vec most = splat((real)least);
    ivec found = {0};
    double n = 0;
    FOR_VECTORS(slopes, v, rows, found += (ivec)(magnitude(x) < most) & is_first(v->c - j), {})
    for (int i = 0; i < VL; i++) n -= (double)found[i];
    return n / count(v, rows);
}

/* Marks the channels of which a slope is not below the least; -> how many are not marked. */
static ptrdiff_t active(char *marks, const void *slopes, const bp_value *v, ptrdiff_t rows, double least) {
    const vec most = splat((real)least);
    ptrdiff_t left = 0;
    for (ptrdiff_t j = 0; j < v->c; j += VL) {
        const ptrdiff_t width = smaller(VL, v->c - j);
        ivec found = {0};
        if (!memchr(marks + j, 0, (size_t)width)) continue;
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t pixel = 0; pixel < v->h * v->w; pixel++)
                found |= (ivec)(magnitude(loadu((const real *)slopes + r * v->ld + pixel * v->pitch + j)) >= most);
        for (ptrdiff_t i = 0; i < width; i++) left += !(marks[j + i] |= found[i] != 0);
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
        for (int s = 0; s < 4; s++) sums[s] += total(of_piece[s]);
    }
}
