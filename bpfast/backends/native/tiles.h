/* Register tiles: C (rows x columns of vectors) = init + A B, summed over k in index order.
 * k goes through runs of K numbers, whose parts of A are a_run and of B b_run apart.  Dense has one run.
 *
 * A[i, k] at A + i * a_row + k * a_k   a number, broadcast      IN
 * B[k, :] at B + k * ldb               vectors, best aligned    IN
 * init[i] at init + i * ld_init        where the sum begins     IN   (a bias has ld_init = 0)
 * y[i, :] at y + i * ldy         where dE/dC is passed on      IN   (masked only)
 * C[i, :] at C + i * ldc                                        OUT
 *
 * What is stored: the sum, relu of the sum, or the sum where y > 0 and else 0 (relu's adjoint).
 * The accumulators must be named variables: gcc keeps an array of them in memory. */
typedef void tile_fn(ptrdiff_t K, const real *A, ptrdiff_t a_row, ptrdiff_t a_k, const real *B, ptrdiff_t ldb,
                     ptrdiff_t runs, ptrdiff_t a_run, ptrdiff_t b_run, real *C, ptrdiff_t ldc, const real *init, ptrdiff_t ld_init,
                     const real *y, ptrdiff_t ldy);
enum tile_mode { TILE_SUM, TILE_RELU, TILE_MASKED };

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
#define END_SUM(i, j) store(C + i * ldc + j * VL, c##i##_##j);
#define END_RELU(i, j) store(C + i * ldc + j * VL, relu_vec(c##i##_##j));
#define END_MASKED(i, j) store(C + i * ldc + j * VL, where_positive(load(y + i * ldy + j * VL), c##i##_##j));

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

#define BEGIN_ROW(i, COLUMNS) COLUMNS(BEGIN, i)
#define STEP_ROW(i, COLUMNS) { const vec a = splat(A_##i); COLUMNS(STEP, i) }
#define END_ROW_SUM(i, COLUMNS) COLUMNS(END_SUM, i)
#define END_ROW_RELU(i, COLUMNS) COLUMNS(END_RELU, i)
#define END_ROW_MASKED(i, COLUMNS) COLUMNS(END_MASKED, i)

#define TILE_OF(MODE, ROWS, COLUMNS)                                                                            \
    static void tile_##MODE##_##ROWS##x##COLUMNS(ptrdiff_t K, const real *A, ptrdiff_t a_row, ptrdiff_t a_k,    \
                                                 const real *B, ptrdiff_t ldb, ptrdiff_t runs, ptrdiff_t a_run, \
                                                 ptrdiff_t b_run, real *C, ptrdiff_t ldc, const real *init,     \
                                                 ptrdiff_t ld_init, const real *y, ptrdiff_t ldy) {             \
        (void)y, (void)ldy;                                                                                     \
        ROWS_##ROWS(BEGIN_ROW, COLUMNS_##COLUMNS)                                                               \
        for (; runs > 0; runs--, A += a_run, B += b_run) {                                                      \
            const real *A0 = A, *A6 = A + 6 * a_row, *B0 = B;                                                   \
            UNRELATED(A6);                                                                                      \
            for (ptrdiff_t k = 0; k < K; k++, A0 += a_k, A6 += a_k, B0 += ldb) {                                \
                COLUMNS_##COLUMNS(LOAD, 0)                                                                      \
                ROWS_##ROWS(STEP_ROW, COLUMNS_##COLUMNS)                                                        \
            }                                                                                                   \
        }                                                                                                       \
        ROWS_##ROWS(END_ROW_##MODE, COLUMNS_##COLUMNS)                                                          \
    }
#define TILE(ROWS, COLUMNS) TILE_OF(SUM, ROWS, COLUMNS) TILE_OF(RELU, ROWS, COLUMNS) TILE_OF(MASKED, ROWS, COLUMNS)

#define TILES_UP_TO_6(C) TILE(1, C) TILE(2, C) TILE(3, C) TILE(4, C) TILE(5, C) TILE(6, C)
#define TILES_UP_TO_8(C) TILES_UP_TO_6(C) TILE(7, C) TILE(8, C)
#define TILES_UP_TO_12(C) TILES_UP_TO_8(C) TILE(9, C) TILE(10, C) TILE(11, C) TILE(12, C)

#define NAME(M, R, C) tile_##M##_##R##x##C
#define NAMES_UP_TO_6(M, C) 0, NAME(M, 1, C), NAME(M, 2, C), NAME(M, 3, C), NAME(M, 4, C), NAME(M, 5, C), NAME(M, 6, C)
#define NAMES_UP_TO_8(M, C) NAMES_UP_TO_6(M, C), NAME(M, 7, C), NAME(M, 8, C)
#define NAMES_UP_TO_12(M, C) NAMES_UP_TO_8(M, C), NAME(M, 9, C), NAME(M, 10, C), NAME(M, 11, C), NAME(M, 12, C)

/* As many accumulators as the registers hold beside B's vectors and one of A: 32 registers, or 16. */
TILES_UP_TO_12(1)
#if VECTOR_BYTES == 64
enum { PANEL_VECTORS = 4 };
TILES_UP_TO_12(2)
TILES_UP_TO_8(3)
TILES_UP_TO_6(4)
#define TILES_OF(M) {{0}, {NAMES_UP_TO_12(M, 1)}, {NAMES_UP_TO_12(M, 2)}, {NAMES_UP_TO_8(M, 3)}, {NAMES_UP_TO_6(M, 4)}}
static const int most_rows[] = {0, 12, 12, 8, 6};
#else
enum { PANEL_VECTORS = 2 };
TILES_UP_TO_6(2)
#define TILES_OF(M) {{0}, {NAMES_UP_TO_12(M, 1)}, {NAMES_UP_TO_6(M, 2)}}
static const int most_rows[] = {0, 12, 6};
#endif
static tile_fn *const tiles[][PANEL_VECTORS + 1][13] = {TILES_OF(SUM), TILES_OF(RELU), TILES_OF(MASKED)};

enum { PANEL = PANEL_VECTORS * VL };

/* The same for any number of rows: split evenly, so that no tile is much smaller than the others. */
static void panel_product(enum tile_mode mode, ptrdiff_t rows, int columns, ptrdiff_t K, const real *A, ptrdiff_t a_row,
                          ptrdiff_t a_k, const real *B, ptrdiff_t ldb, ptrdiff_t runs, ptrdiff_t a_run, ptrdiff_t b_run,
                          real *C, ptrdiff_t ldc, const real *init, ptrdiff_t ld_init, const real *y, ptrdiff_t ldy) {
    ptrdiff_t n_tiles = (rows + most_rows[columns] - 1) / most_rows[columns];
    for (ptrdiff_t done = 0; n_tiles > 0; n_tiles--) {
        ptrdiff_t height = (rows - done + n_tiles - 1) / n_tiles;
        tiles[mode][columns][height](K, A + done * a_row, a_row, a_k, B, ldb, runs, a_run, b_run, C + done * ldc, ldc,
                                     init + done * ld_init, ld_init, y + done * ldy, ldy);
        done += height;
    }
}
