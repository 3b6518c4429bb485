/* Register tiles: C (rows x columns of vectors) = init + A B, summed over k in index order.
 *
 * A[i, k] at A + i * a_row + k * a_k   a number, broadcast      IN
 * B[k, :] at B + k * ldb               aligned vectors          IN
 * init[i] at init + i * ld_init        where the sum begins     IN   (a bias has ld_init = 0)
 * C[i, :] at C + i * ldc                                        OUT
 *
 * The accumulators must be named variables: gcc keeps an array of them in memory. */
typedef void tile_fn(ptrdiff_t K, const real *A, ptrdiff_t a_row, ptrdiff_t a_k, const real *B, ptrdiff_t ldb,
                     real *C, ptrdiff_t ldc, const real *init, ptrdiff_t ld_init);

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

#define BEGIN(i, j) vec c##i##_##j = load(init + i * ld_init + j * VL);
#define LOAD(i, j) const vec b##j = load(B + j * VL);
#define STEP(i, j) c##i##_##j = VFMA(a, b##j, c##i##_##j);
#define END(i, j) store(C + i * ldc + j * VL, c##i##_##j);

#define BEGIN_ROW(i, COLUMNS) COLUMNS(BEGIN, i)
#define STEP_ROW(i, COLUMNS) { const vec a = splat(A[i * a_row]); COLUMNS(STEP, i) }
#define END_ROW(i, COLUMNS) COLUMNS(END, i)

#define TILE(ROWS, COLUMNS)                                                                                     \
    static void tile_##ROWS##x##COLUMNS(ptrdiff_t K, const real *A, ptrdiff_t a_row, ptrdiff_t a_k,             \
                                        const real *B, ptrdiff_t ldb, real *C, ptrdiff_t ldc, const real *init, \
                                        ptrdiff_t ld_init) {                                                    \
        ROWS_##ROWS(BEGIN_ROW, COLUMNS_##COLUMNS)                                                               \
        for (ptrdiff_t k = 0; k < K; k++, A += a_k, B += ldb) {                                                 \
            COLUMNS_##COLUMNS(LOAD, 0)                                                                          \
            ROWS_##ROWS(STEP_ROW, COLUMNS_##COLUMNS)                                                            \
        }                                                                                                       \
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
static tile_fn *const tiles[][13] = {
    {0}, {NAMES_UP_TO_12(1)}, {NAMES_UP_TO_12(2)}, {NAMES_UP_TO_8(3)}, {NAMES_UP_TO_6(4)}};
static const int most_rows[] = {0, 12, 12, 8, 6};
#else
enum { PANEL_VECTORS = 2 };
TILES_UP_TO_6(2)
static tile_fn *const tiles[][13] = {{0}, {NAMES_UP_TO_12(1)}, {NAMES_UP_TO_6(2)}};
static const int most_rows[] = {0, 12, 6};
#endif

enum { PANEL = PANEL_VECTORS * VL };

/* The same for any number of rows: split evenly, so that no tile is much smaller than the others. */
static void panel_product(ptrdiff_t rows, int columns, ptrdiff_t K, const real *A, ptrdiff_t a_row, ptrdiff_t a_k,
                          const real *B, ptrdiff_t ldb, real *C, ptrdiff_t ldc, const real *init, ptrdiff_t ld_init) {
    ptrdiff_t n_tiles = (rows + most_rows[columns] - 1) / most_rows[columns];
    for (ptrdiff_t done = 0; n_tiles > 0; n_tiles--) {
        ptrdiff_t height = (rows - done + n_tiles - 1) / n_tiles;
        tiles[columns][height](K, A + done * a_row, a_row, a_k, B, ldb, C + done * ldc, ldc, init + done * ld_init,
                               ld_init);
        done += height;
    }
}
