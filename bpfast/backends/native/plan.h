/* What the engine and the kernels of every CPU level share: a plan in C.  Offsets count elements. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { BP_MAX_SLOTS = 3, BP_MAX_COEFFICIENTS = 16, BP_MAX_HYPER = 5, BP_MAX_STATISTICS = 3, BP_LANES = 16, BP_MAX_THREADS = 32 };

/* A value of the program: rows of n numbers in the workspace, ld apart; columns n.. are padding.  A row is h x w
 * pixels, pitch numbers apart, of which the first c are channels and the others padding; a vector is one pixel. */
typedef struct {
    ptrdiff_t n, ld;
    ptrdiff_t value;  /* y */
    ptrdiff_t before; /* the pre-activation z, where the way back reads it; else the same as value */
    ptrdiff_t noted;  /* what an instruction notes of a row for the way back: factors, sums, moments */
    ptrdiff_t delta;  /* dE/dy, then dE/dz */
    ptrdiff_t kept;   /* what an instruction keeps of a batch */
    ptrdiff_t h, w, c, pitch;
} bp_value;

/* What a pixel of an image is made from: height rows of width pixels of the image before, outside which are zeros.
 * Pixel (y, x) has its window's first pixel at (y stride_y - top, x stride_x - left). */
typedef struct {
    ptrdiff_t height, width, stride_y, stride_x, top, left;
} bp_window;

/* Rows of n numbers, ld apart; y and x, or dx and dy, may be the same array. */
typedef void bp_forward(void *y, const void *x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const double *hyper);
typedef void bp_adjoint(void *dx, const void *dy, const void *x, const void *y, ptrdiff_t rows, ptrdiff_t n,
                        ptrdiff_t ld, const double *hyper);
typedef void bp_forward_slope(void *y, void *slope, const void *x, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld,
                              const double *hyper);
typedef struct {
    const char *name;
    bp_forward *forward;             /* NULL: y = x */
    bp_adjoint *adjoint;             /* NULL: dx = dy */
    int rowwise;                     /* works on whole rows */
    bp_forward_slope *forward_slope; /* in training: f'(x), too, which may take the place of x and is the adjoint's x */
} bp_activation;

/* t: int64 labels, or numbers ld apart.  mean: each row's share of the average.  values: a loss per row. */
typedef void bp_loss_run(double *values, void *dy, const void *y, const void *t, const double *mean, ptrdiff_t rows,
                         ptrdiff_t n, ptrdiff_t ld, const double *hyper);
typedef struct {
    const char *name;
    bp_loss_run *run;
} bp_loss;

/* n: a multiple of the vector's length, as all arrays of parameters have. */
typedef void bp_update_run(void *w, void *const *slots, const void *g, ptrdiff_t n, const void *coefficients);
typedef struct {
    const char *name;
    int n_slots;
    bp_update_run *run;
} bp_update;

/* A parameter or statistic in the arenas of a State, and what restrains it.  Offsets and sizes hold for every arena. */
typedef struct {
    ptrdiff_t offset, size;  /* numbers, with padding */
    ptrdiff_t n_in, n_out;   /* of a weight; n_in = 0 of a vector */
    double l1, l2, l2_of_sum, decay; /* 0: none */
    double max_norm;         /* infinite: none */
} bp_parameter;

/* Bounds of a gradient; infinite: none. */
typedef struct {
    double value, norm, global_norm;
} bp_clip;

typedef struct bp_op bp_op;
typedef struct bp_job bp_job;
typedef struct bp_instruction bp_instruction;

/* Rows begin .. end of a value, and its units first .. last: whole panels, or all of them (last may exceed n).
 * Only ops that say shares_units are ever given fewer than all. */
typedef struct {
    ptrdiff_t begin, end, first, last;
} bp_part;

/* How a product ends: with the sum; relu of it; it where y > 0, else 0 (relu's adjoint); it times y (f'(z)). */
enum { BP_SUM, BP_RELU, BP_MASKED, BP_SCALED };

typedef void bp_pass(const bp_job *, const bp_instruction *, bp_part);

/* What is done for an instruction: ahead in this order, and back. */
enum { BP_PREPARE, BP_FORWARD, BP_AHEAD };
enum { BP_ADJOINT, BP_COLLECT, BP_BACKWARD, BP_BACK };

struct bp_instruction {
    const bp_op *op;
    bp_pass *ahead[BP_AHEAD], *back[BP_BACK]; /* those of the op that are needed; else NULL */
    int inputs[2], n_inputs, output;
    int wants_dx;                   /* the input is not the data */
    int adds_dx[2];                 /* another instruction has written this input's delta before */
    const bp_parameter *weight, *bias; /* of a norm: scale and shift */
    const bp_activation *activation;
    int fused_relu;                 /* the activation is done as the numbers are made */
    int fused_adjoint;              /* its adjoint is, as the reader of this output makes its delta: */
    int dx_end;                     /* how it ends, for this one's own dx */
    double hyper[BP_MAX_HYPER];
    const bp_parameter *statistics[BP_MAX_STATISTICS];
    bp_window window;
    double settings[2];             /* of a norm: eps, momentum; of noise: rate, number */
};

/* Lists of entries, numbers and their places: those of list i are starts[i] .. starts[i + 1]. */
typedef struct {
    ptrdiff_t *starts;
    int32_t *places;
    void *numbers;
} bp_entries;
enum { BP_OF_ROWS, BP_OF_COLUMNS }; /* a sparse block: of each row by column, of each column by row */

/* One thread's view of a run: where everything is. */
struct bp_job {
    const bp_value *values;
    const bp_entries *x;            /* two, in the place of value 0, which only dense layers read; NULL: it is dense */
    void *work;                     /* the workspace's values and deltas */
    void *scratch;                  /* of this thread */
    void *parameters, *gradient, *slots[BP_MAX_SLOTS];
    const bp_parameter *layout;     /* of all parameters */
    int n_parameters, n_slots;
    const bp_update *update;        /* applied to each tile of the gradient; NULL: the gradient is kept */
    const void *coefficients;
    double rate;                    /* the learning rate */
    double weight_sum;              /* of the batch */
    bp_clip clip;
    int continues;                  /* the gradient goes on from an earlier block of the batch */
    int trains;                     /* noise is drawn, and statistics are those of the batch */
    uint64_t seed, step;            /* of the noise */
    ptrdiff_t rows, first_row;      /* of the block, and where they begin in their batch */
};

/* forward: a part of the output.  adjoint: of the output's delta, made that of the pre-activation.  backward: of the
 * inputs' deltas.  gradient: of parameters, for the weight's panel rows begin .. end, over all rows.
 * What depends on other rows of the batch, mixes_rows: prepare and collect are done for all rows before any row's
 * forward and backward; learn follows a step.  shares_units: forward and backward may be given some units of all rows. */
struct bp_op {
    const char *name;
    bp_pass *forward, *adjoint, *backward;
    void (*gradient)(const bp_job *, const bp_instruction *, ptrdiff_t rows, ptrdiff_t begin, ptrdiff_t end);
    bp_pass *prepare, *collect;
    void (*learn)(const bp_job *, const bp_instruction *, ptrdiff_t rows);
    int shares_units, mixes_rows;
};

static inline void bp_find_passes(bp_instruction *it) {
    const bp_op *op = it->op;
    it->ahead[BP_PREPARE] = op->prepare;
    it->ahead[BP_FORWARD] = op->forward;
    it->back[BP_ADJOINT] = it->activation->adjoint && !it->fused_adjoint ? op->adjoint : 0;
    it->back[BP_COLLECT] = op->collect;
    it->back[BP_BACKWARD] = it->wants_dx ? op->backward : 0;
}

/* The types of numbers from outside that kernels read.  These may stand anywhere, as in a field of a record. */
#define BP_TYPES(TYPE) \
    TYPE(float) TYPE(double) TYPE(int8_t) TYPE(uint8_t) TYPE(int16_t) TYPE(uint16_t) TYPE(int32_t) \
    TYPE(uint32_t) TYPE(int64_t) TYPE(uint64_t)
#define TYPE(type) typedef type loose_##type __attribute__((aligned(1), may_alias));
BP_TYPES(TYPE)
#undef TYPE
#define TYPE(type) BP_##type,
enum { BP_TYPES(TYPE) };
#undef TYPE

/* n numbers of another type, stride bytes apart, as numbers of one of these types side by side. */
typedef void bp_translate(void *to, const char *from, ptrdiff_t stride, ptrdiff_t n);

/* A strided table of numbers from outside; a row that is not flat is an image, of lines of pixels of columns. */
typedef struct {
    const char *data;
    ptrdiff_t row_stride, column_stride; /* bytes */
    int is_flat;                         /* a row's numbers are column_stride apart */
    ptrdiff_t line_stride, pixel_stride; /* bytes; else these and column_stride */
    int type;                            /* one of BP_TYPES: as it stands, or as it is translated, */
    ptrdiff_t size;                      /* of so many bytes */
    bp_translate *translate;             /* NULL: as it stands */
    const ptrdiff_t *starts;             /* of the numbers of every sparse row, and their end; NULL: rows are dense */
    const void *columns;                 /* of these numbers */
    int has_wide_columns;                /* int64, else int32 */
} bp_table;

/* Everything compiled for one CPU level and one real type. */
typedef struct {
    const char *level;
    int real_size, panel; /* bytes, numbers in a row of a weight panel */
    const bp_activation *activations;
    const bp_loss *losses;
    const bp_update *updates;
    const bp_op *ops; /* all tables end with a row without a name */

    ptrdiff_t (*weight_size)(ptrdiff_t n_in, ptrdiff_t n_out);
    ptrdiff_t (*scratch_size)(ptrdiff_t n_in, ptrdiff_t n_out);
    ptrdiff_t (*conv_scratch_size)(const bp_window *, const bp_value *in, const bp_value *out);
    void (*pack)(void *panels, const void *weight, ptrdiff_t n_in, ptrdiff_t n_out);
    void (*unpack)(void *weight, const void *panels, ptrdiff_t n_in, ptrdiff_t n_out);
    /* of a gradient that is kept: completed, then a step by it; what holds after every step */
    void (*penalties)(double sums[2], const bp_job *);
    void (*add_penalties)(const bp_job *);
    void (*step_all)(const bp_job *);
    void (*limit_norms)(const bp_job *);
    bp_adjoint *by_slope; /* dx = dy x, where x is f'(x) */
    void (*clean)(const bp_job *); /* the padding of parameters and slots, after an update that moves zeros */
    /* y = act(x W + b) for few rows, from weights as the user sees them; same sums in the same order */
    void (*dense_plain)(const bp_job *, const bp_instruction *, ptrdiff_t rows, const void *weight, const void *bias);
    void (*gather)(void *rows, ptrdiff_t ld, ptrdiff_t n, const bp_table *, const ptrdiff_t *order, ptrdiff_t begin,
                   ptrdiff_t end);
    void (*scatter)(void *out, const void *rows, ptrdiff_t ld, ptrdiff_t n, ptrdiff_t n_rows);
    void (*convert)(void *reals, const double *numbers, ptrdiff_t n);
    int (*all_finite)(const void *reals, ptrdiff_t n);
    void (*fill)(void *reals, double number, ptrdiff_t n);
    void (*powers)(double means[2], const void *reals, const bp_value *, ptrdiff_t rows);
    double (*flat)(const void *reals, const bp_value *, ptrdiff_t rows, double least);
    ptrdiff_t (*active)(char *marks, const void *reals, const bp_value *, ptrdiff_t rows, double least);
    void (*compare)(double sums[4], const void *a, const void *b, ptrdiff_t n);
    void (*permutation)(ptrdiff_t *order, ptrdiff_t n, uint64_t seed, uint64_t epoch);
    double (*peak)(ptrdiff_t n); /* n rounds of independent FMAs; returns their number */
} bp_kernels;
