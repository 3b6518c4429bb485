/* Register tiles: C (rows x columns of vectors) = init + A B, summed over k in index order.
 * k goes through runs of K numbers, whose parts of A are a_run and of B b_run apart: convolutions have several.
 * How it ends: plan.h.
 * The accumulators must be named variables: gcc keeps an array of them in memory. */
typedef struct {
    int end;
    const real *A;    /* A[i, k] at A + i * a_row + k * a_k   a number, broadcast     IN */
    ptrdiff_t a_row, a_k;
    const real *B;    /* B[k, :] at B + k * ldb               vectors, best aligned   IN */
    ptrdiff_t ldb;
    real *C;          /* C[i, :] at C + i * ldc                                       OUT */
    ptrdiff_t ldc;
    const real *init; /* init[i] at init + i * ld_init        a bias has ld_init = 0  IN */
    ptrdiff_t ld_init;
    const real *y;    /* y[i, :] at y + i * ldy               it is masked or scaled by IN */
    ptrdiff_t ldy;
    ptrdiff_t K, more_runs, a_run, b_run; /* more than one */
} product;
typedef void tile_fn(const product *);

#define COLUMNS_1(M, i) M(i, 0)
#define COLUMNS_2(M, i) COLUMNS_1(M, i) M(i, 1)
#define COLUMNS_3(M, i) COLUMNS_2(M, i) M(i, 2)
#define COLUMNS_4(M, i) COLUMNS_3(M, i) M(i, 3)

#define ROWS_1(M, COLUMNS) M(0, COLUMNS)
#define ROWS_2(M, COLUMNS) ROWS_1(M, COLUMNS) M(1, COLUMNS)
#define ROWS_3(M, COLUMNS) ROWS_2(M, COLUMNS) M(2, COLUMNS)
#define ROWS_4(M, COLUMNS) ROWS_3(M, COLUMNS) M(3, COLUMNS)
#define ROWS_5(M, COLUMNS) ROWS_4(M, COLUMNS) M(4, COLUMNS)
#define ROWS_6(M, COLUMNS) ROWS_5(M, COLUMNS) M(5, COLUMNS)
#define ROWS_7(M, COLUMNS) ROWS_6(M, COLUMNS) M(6, COLUMNS)
#define ROWS_8(M, COLUMNS) ROWS_7(M, COLUMNS) M(7, COLUMNS)
#define ROWS_9(M, COLUMNS) ROWS_8(M, COLUMNS) M(8, COLUMNS)
#define ROWS_10(M, COLUMNS) ROWS_9(M, COLUMNS) M(9, COLUMNS)
#define ROWS_11(M, COLUMNS) ROWS_10(M, COLUMNS) M(10, COLUMNS)
#define ROWS_12(M, COLUMNS) ROWS_11(M, COLUMNS) M(11, COLUMNS)

#define BEGIN(i, j) vec c##i##_##j = loadu(init + i * ld_init + j * VL);
#define LOAD(i, j) const vec b##j = loadu(B0 + j * VL);
#define STEP(i, j) c##i##_##j = VFMA(a, b##j, c##i##_##j);
#define RELU(i, j) c##i##_##j = relu_vec(c##i##_##j);
#define MASK(i, j) c##i##_##j = where_positive(load(y + i * ldy + j * VL), c##i##_##j);
#define SCALE(i, j) c##i##_##j *= load(y + i * ldy + j * VL);
#define END(i, j) store(C + i * ldc + j * VL, c##i##_##j);

/* A number of each row.  Two pointers: one for all of twelve has more offsets than there are registers. */
#define A_0 A0[0]
#define A_1 A0[a_row]
#define A_2 A0[2 * a_row]
#define A_3 A0[3 * a_row]
#define A_4 A0[4 * a_row]
#define A_5 A0[5 * a_row]
#define A_6 A6[0]
#define A_7 A6[a_row]
#define A_8 A6[2 * a_row]
#define A_9 A6[3 * a_row]
#define A_10 A6[4 * a_row]
#define A_11 A6[5 * a_row]
#define UNRELATED(p) __asm__("" : "+r"(p)) /* hides from the compiler how p was made */
/* Steps in bytes that gcc knows nothing of: else it makes a second loop for steps of one number. */
#define MOVE(p, bytes) p = (const real *)((const char *)(p) + (bytes))

#define BEGIN_ROW(i, COLUMNS) COLUMNS(BEGIN, i)
#define STEP_ROW(i, COLUMNS) { const vec a = splat(A_##i); COLUMNS(STEP, i) }
#define RELU_ROW(i, COLUMNS) COLUMNS(RELU, i)
#define MASK_ROW(i, COLUMNS) COLUMNS(MASK, i)
#define SCALE_ROW(i, COLUMNS) COLUMNS(SCALE, i)
#define END_ROW(i, COLUMNS) COLUMNS(END, i)

#define TILE(ROWS, COLUMNS)                                                                                     \
    static void tile_##ROWS##x##COLUMNS(const product *p) {                                                     \
        const ptrdiff_t K = p->K, a_row = p->a_row, ldb = p->ldb, ldc = p->ldc, ld_init = p->ld_init;           \
        const real *A = p->A, *B = p->B, *init = p->init, *y = p->y;                                            \
        const ptrdiff_t ldy = p->ldy;                                                                           \
        real *C = p->C;                                                                                         \
        ptrdiff_t a_bytes = p->a_k * (ptrdiff_t)sizeof(real);                                                   \
        UNRELATED(a_bytes);                                                                                     \
        ROWS_##ROWS(BEGIN_ROW, COLUMNS_##COLUMNS)                                                               \
        for (ptrdiff_t run = p->more_runs; run >= 0; run--, A += p->a_run, B += p->b_run) {                     \
            const real *A0 = A, *A6 = A + 6 * a_row, *B0 = B;                                                   \
            UNRELATED(A6);                                                                                      \
            for (ptrdiff_t k = 0; k < K; k++, B0 += ldb) {                                                      \
                COLUMNS_##COLUMNS(LOAD, 0)                                                                      \
                ROWS_##ROWS(STEP_ROW, COLUMNS_##COLUMNS)                                                        \
                MOVE(A0, a_bytes);                                                                              \
                MOVE(A6, a_bytes);                                                                              \
            }                                                                                                   \
        }                                                                                                       \
        if (p->end == BP_RELU) { ROWS_##ROWS(RELU_ROW, COLUMNS_##COLUMNS) }                                     \
        if (p->end == BP_MASKED) { ROWS_##ROWS(MASK_ROW, COLUMNS_##COLUMNS) }                                   \
        if (p->end == BP_SCALED) { ROWS_##ROWS(SCALE_ROW, COLUMNS_##COLUMNS) }                                  \
        ROWS_##ROWS(END_ROW, COLUMNS_##COLUMNS)                                                                 \
    }

#define TILES_UP_TO_6(C) TILE(1, C) TILE(2, C) TILE(3, C) TILE(4, C) TILE(5, C) TILE(6, C)
#define TILES_UP_TO_8(C) TILES_UP_TO_6(C) TILE(7, C) TILE(8, C)
#define TILES_UP_TO_12(C) TILES_UP_TO_8(C) TILE(9, C) TILE(10, C) TILE(11, C) TILE(12, C)

#define NAMES_UP_TO_6(C) 0, tile_1x##C, tile_2x##C, tile_3x##C, tile_4x##C, tile_5x##C, tile_6x##C
#define NAMES_UP_TO_8(C) NAMES_UP_TO_6(C), tile_7x##C, tile_8x##C
#define NAMES_UP_TO_12(C) NAMES_UP_TO_8(C), tile_9x##C, tile_10x##C, tile_11x##C, tile_12x##C

/* As many accumulators as the registers hold beside B's vectors and one of A: 32 registers, or 16. */
TILES_UP_TO_12(1)
#if VECTOR_BYTES == 64
enum { PANEL_VECTORS = 4 };
TILES_UP_TO_12(2)
TILES_UP_TO_8(3)
TILES_UP_TO_6(4)
#define TILES {0}, {NAMES_UP_TO_12(1)}, {NAMES_UP_TO_12(2)}, {NAMES_UP_TO_8(3)}, {NAMES_UP_TO_6(4)}
static const int most_rows[] = {0, 12, 12, 8, 6};
#else
enum { PANEL_VECTORS = 2 };
TILES_UP_TO_6(2)
#define TILES {0}, {NAMES_UP_TO_12(1)}, {NAMES_UP_TO_6(2)}
static const int most_rows[] = {0, 12, 6};
#endif
static tile_fn *const tiles[PANEL_VECTORS + 1][13] = {TILES};

enum { PANEL = PANEL_VECTORS * VL };

/* The same for any number of rows: split evenly, so that no tile is much smaller than the others.
 * Ends with p at the rows that follow. */
static __attribute__((noinline)) void panel_product(ptrdiff_t rows, int columns, product *p) {
    ptrdiff_t n_tiles = (rows + most_rows[columns] - 1) / most_rows[columns];
    for (; n_tiles > 0; n_tiles--) {
        const ptrdiff_t height = (rows + n_tiles - 1) / n_tiles;
        tiles[columns][height](p);
        rows -= height;
        p->A += height * p->a_row, p->C += height * p->ldc, p->init += height * p->ld_init, p->y += height * p->ldy;
    }
}
