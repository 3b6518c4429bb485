/* Every kernel of one CPU level and one real type; compiled once for each pair with
 * -DCPU_LEVEL=v2|v3|v4|base -DREAL_IS_FLOAT=1|0 and that level's -march.  All is static but the table. */
#include <string.h>
#if defined __x86_64__
#include <immintrin.h>
#elif defined __ARM_NEON
#include <arm_neon.h>
#endif

#include "plan.h"
#include "vector.h"
#include "mathf.h"
#include "tiles.h"

/* Tells the compiler that iterations are independent, also where output and input are one array. */
#if defined __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* n, a multiple of VL, in a form that shows the compiler that no single numbers are left over. */
#define WHOLE(n) ((n) & -(ptrdiff_t)VL)

#define SELU_SCALE ((real)1.0507009873554805)
#define SELU_ALPHA ((real)1.6732632423543772)
#define GELU_A ((real)1.5957691216057308) /* 2 sqrt(2 / pi) */
#define GELU_B ((real)0.07135481627260025) /* 0.044715 times that */

/* The twins of special.py for losses: max(x, LEAST), and log x with its tangent below LEAST. */
#define LEAST ((real)1e-12)
INLINE real at_least(real x) { return x < LEAST ? LEAST : x; }
INLINE real log_least(real x) { return bp_log(at_least(x)) + (x < LEAST ? x / LEAST - 1 : 0); }

#include "../../ops/softmax.h"

/* -- activations: rows into loops, then into the table ------------------------------------------ */

#define HYPER                                                                                                     \
    const real h0 = (real)hyper[0], h1 = (real)hyper[1];                                                          \
    (void)h0, (void)h1;

/* Numbers from the first of some rows to the last, padding included: one long loop beats many short. */
INLINE ptrdiff_t extent(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld) {
    return rows == 0 ? 0 : WHOLE((rows - 1) * ld + round_up(n, VL));
}

#define FORWARD(name, f)                                                                                          \
    static void name##_forward(void *Y, const void *X, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld,                 \
                               const double *hyper) {                                                             \
        HYPER                                                                                                     \
        real *y_ = Y;                                                                                             \
        const real *x_ = X;                                                                                       \
        INDEPENDENT for (ptrdiff_t i = 0, end = extent(rows, n, ld); i < end; i++) {                              \
            const real x = x_[i];                                                                                 \
            y_[i] = f;                                                                                            \
        }                                                                                                         \
    }
#define ADJOINT(name, g)                                                                                          \
    static void name##_adjoint(void *DX, const void *DY, const void *X, const void *Y, ptrdiff_t rows,            \
                               ptrdiff_t n, ptrdiff_t ld, const double *hyper) {                                  \
        HYPER                                                                                                     \
        real *dx_ = DX;                                                                                           \
        const real *dy_ = DY, *x_ = X, *y__ = Y;                                                                  \
        INDEPENDENT for (ptrdiff_t i = 0, end = extent(rows, n, ld); i < end; i++) {                              \
            const real dy = dy_[i], x = x_[i], y = y__[i];                                                        \
            (void)x, (void)y;                                                                                     \
            dx_[i] = g;                                                                                           \
        }                                                                                                         \
    }
#define ROW(name, f, g) FORWARD(name, f) ADJOINT(name, g)
#define RULE(name, f) FORWARD(name, f)
#define SAME(name)
#define ROWWISE(name)
#include "../../ops/activations.h"
#undef ROW
#undef RULE
#undef SAME
#undef ROWWISE

ADJOINT(by_slope, dy * x)

#define ROW(name, f, g) {#name, name##_forward, name##_adjoint, 0, 0},
#define RULE(name, f) {#name, name##_forward, 0, 0, 0},
#define SAME(name) {#name, 0, 0, 0, 0},
#define ROWWISE(name) {#name, name##_forward, name##_adjoint, 1, 0},
static const bp_activation activations[] = {
#include "../../ops/activations.h"
    {0}};
#undef ROW
#undef RULE
#undef SAME
#undef ROWWISE

/* -- losses ------------------------------------------------------------------------------------- */

/* The row of a table as a loop: values and gradients of n outputs. */
typedef void loss_of_outputs(real *value, real *gradient, const real *y, const real *t, ptrdiff_t n,
                             const double *hyper);

/* Add n numbers of each row to its sum: in index order, four rows side by side. */
static void add_rows(double *sums, const real *x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld) {
    ptrdiff_t r = 0;
    for (; r + 4 <= rows; r += 4, x += 4 * ld) {
        double a = sums[r], b = sums[r + 1], c = sums[r + 2], d = sums[r + 3];
        for (ptrdiff_t j = 0; j < n; j++)
            a += (double)x[j], b += (double)x[ld + j], c += (double)x[2 * ld + j], d += (double)x[3 * ld + j];
        sums[r] = a, sums[r + 1] = b, sums[r + 2] = c, sums[r + 3] = d;
    }
    for (; r < rows; r++, x += ld) {
        double sum = sums[r];
        for (ptrdiff_t j = 0; j < n; j++) sum += (double)x[j];
        sums[r] = sum;
    }
}

/* Short rows run many at a time with their padding, long ones in pieces.
 * over: what the sum of a row, and so each output's share of it, is divided by. */
static void reduce_loss(loss_of_outputs *run, double over, double *values, void *DY, const void *Y, const void *T,
                        const double *mean, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const double *hyper) {
    enum { PIECE = 256, PIECES = 4 };
    real value[PIECES * PIECE];
    const ptrdiff_t padded = round_up(n, BP_LANES), group = ld < PIECE ? PIECES * PIECE / ld : PIECES;
    for (ptrdiff_t begin = 0; begin < rows; begin += group) {
        const ptrdiff_t end = smaller(begin + group, rows);
        real *dy = (real *)DY + begin * ld;
        const real *y = (const real *)Y + begin * ld, *t = (const real *)T + begin * ld;
        for (ptrdiff_t r = begin; r < end; r++) values[r] = 0;
        if (ld < PIECE) {
            run(value, dy, y, t, (end - 1 - begin) * ld + padded, hyper);
            add_rows(values + begin, value, end - begin, n, ld);
        } else
            for (ptrdiff_t from = 0; from < padded; from += PIECE) {
                for (ptrdiff_t r = 0, at = from; r < end - begin; r++, at += ld)
                    run(value + r * PIECE, dy + at, y + at, t + at, smaller(padded - from, PIECE), hyper);
                add_rows(values + begin, value, end - begin, smaller(n - from, PIECE), PIECE);
            }
        for (ptrdiff_t r = begin; r < end; r++, dy += ld) {
            const vec share = splat((real)(mean[r] / over));
            for (ptrdiff_t j = 0; j < padded; j += VL) storeu(dy + j, first_of(share * loadu(dy + j), n - j));
            values[r] /= over;
        }
    }
}

#define LOSS(name, v, g, over)                                                                                    \
    static void name##_of_outputs(real *value, real *gradient, const real *y_, const real *t_, ptrdiff_t n,       \
                                  const double *hyper) {                                                          \
        HYPER                                                                                                     \
        INDEPENDENT for (ptrdiff_t i = 0, end = WHOLE(n); i < end; i++) {                                         \
            const real y = y_[i], t = t_[i];                                                                      \
            value[i] = v;                                                                                         \
            gradient[i] = g;                                                                                      \
        }                                                                                                         \
    }                                                                                                             \
    static void name(double *values, void *DY, const void *Y, const void *T, const double *mean, ptrdiff_t rows,  \
                     ptrdiff_t n, ptrdiff_t ld, const double *hyper) {                                            \
        reduce_loss(name##_of_outputs, (double)(over), values, DY, Y, T, mean, rows, n, ld, hyper);               \
    }
#define SUM(name, value, gradient) LOSS(name, value, gradient, 1)
#define MEAN(name, value, gradient) LOSS(name, value, gradient, n)
#define ROWWISE(name)
#include "../../ops/losses.h"
#undef SUM
#undef MEAN
#undef ROWWISE

#define SUM(name, value, gradient) {#name, name},
#define MEAN(name, value, gradient) {#name, name},
#define ROWWISE(name) {#name, name},
static const bp_loss losses[] = {
#include "../../ops/losses.h"
    {0}};
#undef SUM
#undef MEAN
#undef ROWWISE

/* -- updates ------------------------------------------------------------------------------------ */

#define POINTER(slot, k) real *slot##_ = slots[k];
#define READ(slot) real slot = slot##_[i];
#define WRITE(slot) slot##_[i] = slot;
#define UPDATE(name, pointers, reads, writes, rule)                                                               \
    static void name(void *W, void *const *slots, const void *G, ptrdiff_t n, const void *coefficients) {         \
        const real *c_ = coefficients, *g_ = G;                                                                   \
        const real c0 = c_[0], c1 = c_[1], c2 = c_[2], c3 = c_[3], c4 = c_[4], c5 = c_[5], c6 = c_[6];            \
        real *w_ = W;                                                                                             \
        (void)slots, (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6;                        \
        pointers                                                                                                  \
        INDEPENDENT for (ptrdiff_t i = 0, end = WHOLE(n); i < end; i++) {                                         \
            const real g = g_[i];                                                                                 \
            real w = w_[i];                                                                                       \
            reads rule;                                                                                           \
            writes w_[i] = w;                                                                                     \
        }                                                                                                         \
    }
#define UPDATE0(name, rule) UPDATE(name, , , , rule)
#define UPDATE1(name, p, rule) UPDATE(name, POINTER(p, 0), READ(p), WRITE(p), rule)
#define UPDATE2(name, p, q, rule)                                                                                 \
    UPDATE(name, POINTER(p, 0) POINTER(q, 1), READ(p) READ(q), WRITE(p) WRITE(q), rule)
#define UPDATE3(name, p, q, r, rule)                                                                              \
    UPDATE(name, POINTER(p, 0) POINTER(q, 1) POINTER(r, 2), READ(p) READ(q) READ(r), WRITE(p) WRITE(q) WRITE(r), rule)
#include "../../ops/updates.h"
#undef UPDATE0
#undef UPDATE1
#undef UPDATE2
#undef UPDATE3

#define UPDATE0(name, rule) {#name, 0, name},
#define UPDATE1(name, p, rule) {#name, 1, name},
#define UPDATE2(name, p, q, rule) {#name, 2, name},
#define UPDATE3(name, p, q, r, rule) {#name, 3, name},
static const bp_update updates[] = {
#include "../../ops/updates.h"
    {0}};

#include "../../ops/random.h"

/* -- instructions ------------------------------------------------------------------------------- */

#include "panels.h"
#include "rows.h"
#include "../../ops/regularization.h"
#include "../../ops/dense.h"
#include "../../ops/conv.h"
#include "../../ops/pool.h"

#include "elementwise.h"
#include "../../ops/dropout.h"
#include "../../ops/norms.h"
#include "../../ops/figures.h"

static const bp_op ops[] = {
    {.name = "dense", .forward = dense_forward, .adjoint = activated_adjoint, .backward = dense_backward,
     .gradient = dense_gradient, .shares_units = 1},
    {.name = "conv", .forward = conv_forward, .adjoint = activated_adjoint, .backward = conv_backward,
     .gradient = conv_gradient},
    {.name = "max_pool", .forward = max_pool_forward, .backward = max_pool_backward},
    {.name = "avg_pool", .forward = avg_pool_forward, .backward = avg_pool_backward},
    {.name = "activation", .forward = activation_forward, .backward = activation_backward},
    {.name = "add", .adjoint = activated_adjoint, .forward = add_forward, .backward = add_backward},
    {.name = "reshape", .forward = reshape_forward, .backward = reshape_backward},
    {.name = "scale", .forward = scale_forward, .backward = scale_backward, .gradient = scale_gradient},
    {.name = "standardize", .forward = standardize_forward, .backward = standardize_backward},
    {.name = "dropout", .forward = dropout_forward, .backward = dropout_backward},
    {.name = "alpha_dropout", .forward = alpha_dropout_forward, .backward = dropout_backward},
    {.name = "batch_norm", .adjoint = activated_adjoint, .prepare = batch_norm_prepare, .forward = batch_norm_forward, .collect = batch_norm_collect,
     .backward = batch_norm_backward, .gradient = batch_norm_gradient, .learn = batch_norm_learn, .mixes_rows = 1},
    {.name = "layer_norm", .adjoint = activated_adjoint, .forward = layer_norm_forward, .backward = layer_norm_backward,
     .gradient = layer_norm_gradient},
    {0}};

/* -- data in and out ---------------------------------------------------------------------------- */

#define TYPE(type)                                                                                                \
    static void gather_##type(real *row, const char *from, ptrdiff_t stride, ptrdiff_t n) {                       \
        if (stride == sizeof(type))                                                                               \
            for (ptrdiff_t j = 0; j < n; j++) row[j] = (real)((const loose_##type *)from)[j];                     \
        else                                                                                                      \
            for (ptrdiff_t j = 0; j < n; j++) row[j] = (real) * (const loose_##type *)(from + j * stride);        \
    }
BP_TYPES(TYPE)
#undef TYPE
#define TYPE(type) gather_##type,
static void (*const gather_row[])(real *, const char *, ptrdiff_t, ptrdiff_t) = {BP_TYPES(TYPE)};
#undef TYPE

/* A row of a type that has no loop here, piece by piece. */
static void gather_translated(real *row, const char *from, const bp_table *table, ptrdiff_t n) {
    enum { PIECE = 64 };
    char piece[PIECE * sizeof(int64_t)];
    for (ptrdiff_t j = 0; j < n; j += PIECE) {
        const ptrdiff_t m = n - j < PIECE ? n - j : PIECE;
        table->translate(piece, from + j * table->column_stride, table->column_stride, m);
        gather_row[table->type](row + j, piece, table->size, m);
    }
}

enum { BP_real = REAL_IS_FLOAT ? BP_float : BP_double };

/* Rows order[begin .. end] of the table, or rows begin .. end where there is no order. */
static void gather(void *rows, ptrdiff_t ld, ptrdiff_t n, const bp_table *table, const ptrdiff_t *order,
                   ptrdiff_t begin, ptrdiff_t end) {
    const int copies = table->type == BP_real && !table->translate && table->column_stride == sizeof(real) &&
                       table->is_flat; /* whole vectors: pixels of others lie without padding */
    for (ptrdiff_t i = begin; i < end; i++) {
        real *row = (real *)rows + (i - begin) * ld;
        const char *from = table->data + (order ? order[i] : i) * table->row_stride;
        if (copies)
            for (ptrdiff_t j = 0; j < n; j += VL) store(row + j, load_first(from + j * (ptrdiff_t)sizeof(real), n - j));
        else if (table->translate) gather_translated(row, from, table, n);
        else gather_row[table->type](row, from, table->column_stride, n);
    }
}

static void scatter(void *out, const void *rows, ptrdiff_t ld, ptrdiff_t n, ptrdiff_t n_rows) {
    for (ptrdiff_t r = 0; r < n_rows; r++)
        memcpy((real *)out + r * n, (const real *)rows + r * ld, (size_t)n * sizeof(real));
}

static void convert(void *reals, const double *numbers, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) ((real *)reals)[i] = (real)numbers[i];
}

static void fill(void *reals, double number, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) ((real *)reals)[i] = (real)number;
}

static int all_finite(const void *reals, ptrdiff_t n) {
    const real *x = reals;
    int finite = 1;
    for (ptrdiff_t i = 0; i < n; i++) finite &= x[i] - x[i] == 0;
    return finite;
}

/* -- the machine's limit ------------------------------------------------------------------------ */

#define PEAK_BEGIN(i, unused) vec c##i = splat((real)i);
#define PEAK_STEP(i, unused) c##i = VFMA(c##i, a, b);
#define PEAK_END(i, unused) sum += c##i;
static double peak(ptrdiff_t n) {
    const vec a = splat((real)0.999), b = splat((real)1e-3);
    enum { ROUND = 12 };
    ROWS_12(PEAK_BEGIN, 0)
    for (ptrdiff_t i = 0; i < n; i++) { ROWS_12(PEAK_STEP, 0) }
    vec sum = splat(0);
    ROWS_12(PEAK_END, 0)
    volatile real keep = sum[0];
    (void)keep;
    return (double)n * ROUND * VL;
}

#define JOIN_(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)
#if REAL_IS_FLOAT
#define REAL_NAME _float
#else
#define REAL_NAME _double
#endif

const bp_kernels JOIN(bp_kernels_, CPU_LEVEL, REAL_NAME) = {
    .level = TEXT(CPU_LEVEL), .real_size = sizeof(real), .panel = PANEL,
    .activations = activations, .losses = losses, .updates = updates, .ops = ops,
    .weight_size = weight_size, .scratch_size = scratch_size, .conv_scratch_size = conv_scratch_size, .pack = pack, .unpack = unpack,
    .add_penalties = add_penalties, .step_all = step_all, .limit_norms = limit_norms, .clean = clean, .by_slope = by_slope_adjoint,
    .dense_plain = dense_plain, .gather = gather, .scatter = scatter, .convert = convert,
    .all_finite = all_finite, .fill = fill, .powers = powers, .flat = flat, .active = active, .compare = compare,
    .permutation = permutation, .peak = peak};
