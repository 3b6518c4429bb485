/* Vectors of the CPU level that is compiled for, and the one fused multiply-add.
 *
 * Vector width chooses no algorithm: sums along a row use BP_LANES virtual lanes on every level. */
#if REAL_IS_FLOAT
typedef float real;
typedef int32_t bits;
#else
typedef double real;
typedef int64_t bits;
#endif

#if defined __AVX512F__
#define VECTOR_BYTES 64
#elif defined __AVX2__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef real uvec __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(sizeof(real))));
typedef bits ivec __attribute__((vector_size(VECTOR_BYTES), may_alias));

enum { VL = VECTOR_BYTES / sizeof(real), LANE_VECTORS = BP_LANES / VL };

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const real *p) { return *(const vec *)p; }
INLINE vec loadu(const real *p) { return *(const uvec *)p; }
INLINE void store(real *p, vec v) { *(vec *)p = v; }
INLINE void storeu(real *p, vec v) { *(uvec *)p = v; }
INLINE vec splat(real x) { return x - (vec){0}; }

/* a * b + c with one rounding where the CPU has it: the source decides, never the compiler. */
#if defined __FMA__ || defined __ARM_FEATURE_FMA
#if REAL_IS_FLOAT
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) __builtin_fma(a, b, c)
#endif
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

#if defined __AVX512F__ && REAL_IS_FLOAT
#define VFMA(a, b, c) ((vec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#elif defined __AVX512F__
#define VFMA(a, b, c) ((vec)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#elif defined __FMA__ && REAL_IS_FLOAT
#define VFMA(a, b, c) ((vec)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#elif defined __FMA__
#define VFMA(a, b, c) ((vec)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#elif defined __ARM_FEATURE_FMA && REAL_IS_FLOAT
#define VFMA(a, b, c) ((vec)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#elif defined __ARM_FEATURE_FMA
#define VFMA(a, b, c) ((vec)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#else
#define VFMA(a, b, c) ((a) * (b) + (c))
#endif

/* x < 0 ? 0 : x, and m > 0 ? x : 0. */
#if defined __AVX512F__ && REAL_IS_FLOAT
INLINE vec relu_vec(vec x) { return (vec)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x); }
INLINE vec where_positive(vec m, vec x) {
    return (vec)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)m, _mm512_setzero_ps(), _CMP_GT_OQ), (__m512)x);
}
#elif defined __AVX512F__
INLINE vec relu_vec(vec x) { return (vec)_mm512_max_pd(_mm512_setzero_pd(), (__m512d)x); }
INLINE vec where_positive(vec m, vec x) {
    return (vec)_mm512_maskz_mov_pd(_mm512_cmp_pd_mask((__m512d)m, _mm512_setzero_pd(), _CMP_GT_OQ), (__m512d)x);
}
#else
INLINE vec relu_vec(vec x) { return (vec)(~(ivec)(x < (vec){0}) & (ivec)x); }
INLINE vec where_positive(vec m, vec x) { return (vec)((ivec)(m > (vec){0}) & (ivec)x); }
#endif

/* Numbers of 64 bits, and the products of their low halves. */
typedef uint64_t wide __attribute__((vector_size(VECTOR_BYTES), may_alias));
INLINE wide wide_splat(uint64_t x) { return x - (wide){0}; }
#define LOW_HALF(a) ((a) & wide_splat(0xFFFFFFFF))
#if defined __AVX512F__
#define LOW_PRODUCT(a, b) ((wide)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif defined __AVX2__
#define LOW_PRODUCT(a, b) ((wide)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined __SSE2__
#define LOW_PRODUCT(a, b) ((wide)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
#define LOW_PRODUCT(a, b) (LOW_HALF(a) * LOW_HALF(b))
#endif

/* SHUFFLE(a, b, i...): the numbers i of a followed by b. */
#if defined __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

/* INTERLEAVE_LOW, _HIGH: a0 b0 a1 b1 ... of the lower and of the upper halves.  ROTATE_k: number i becomes i + k. */
#if REAL_IS_FLOAT && VECTOR_BYTES == 64
#define INTERLEAVE_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define ROTATE_8(a) SHUFFLE(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define ROTATE_4(a) SHUFFLE(a, a, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
#define ROTATE_2(a) SHUFFLE(a, a, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1)
#define ROTATE_1(a) SHUFFLE(a, a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0)
#elif REAL_IS_FLOAT && VECTOR_BYTES == 32 || !REAL_IS_FLOAT && VECTOR_BYTES == 64
#define INTERLEAVE_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define INTERLEAVE_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define ROTATE_4(a) SHUFFLE(a, a, 4, 5, 6, 7, 0, 1, 2, 3)
#define ROTATE_2(a) SHUFFLE(a, a, 2, 3, 4, 5, 6, 7, 0, 1)
#define ROTATE_1(a) SHUFFLE(a, a, 1, 2, 3, 4, 5, 6, 7, 0)
#elif REAL_IS_FLOAT || VECTOR_BYTES == 32
#define INTERLEAVE_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#define ROTATE_2(a) SHUFFLE(a, a, 2, 3, 0, 1)
#define ROTATE_1(a) SHUFFLE(a, a, 1, 2, 3, 0)
#else
#define INTERLEAVE_LOW(a, b) SHUFFLE(a, b, 0, 2)
#define INTERLEAVE_HIGH(a, b) SHUFFLE(a, b, 1, 3)
#define ROTATE_1(a) SHUFFLE(a, a, 1, 0)
#endif

/* The sum of BP_LANES lanes, folded 8-4-2-1: lane i takes lane i + 8, then i + 4, i + 2, i + 1. */
INLINE real fold(const vec *lanes) {
#if defined ROTATE_8
    vec s = lanes[0];
    s += ROTATE_8(s);
#elif defined ROTATE_4
    vec s = lanes[0] + lanes[1];
#elif defined ROTATE_2
    vec s = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
#else
    vec s = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
#endif
#if defined ROTATE_4
    s += ROTATE_4(s);
#endif
#if defined ROTATE_2
    s += ROTATE_2(s);
#endif
    s += ROTATE_1(s);
    return s[0];
}

/* All ones where the number of a lane is below n. */
INLINE ivec is_first(ptrdiff_t n) {
    static const bits numbers[BP_LANES] __attribute__((aligned(64))) = {0, 1, 2,  3,  4,  5,  6,  7,
                                                                        8, 9, 10, 11, 12, 13, 14, 15};
    return (ivec)(*(const ivec *)numbers < (bits)n);
}

/* The first n numbers of a vector, zeros for the others, whatever they are. */
INLINE vec first_of(vec a, ptrdiff_t n) { return (vec)(is_first(n) & (ivec)a); }

/* The first n numbers at p, which may stand anywhere, and zeros; no others are read.  n >= VL: a whole vector. */
INLINE vec load_first(const void *p, ptrdiff_t n) {
    vec first = {0};
    if (n >= VL) {
        memcpy(&first, p, sizeof first);
        return first;
    }
#if defined __AVX512F__ && REAL_IS_FLOAT
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined __AVX512F__
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#else
    memcpy(&first, p, (size_t)n * sizeof(real));
    return first;
#endif
}

INLINE vec choose(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }
INLINE vec larger(vec a, vec b) { return choose((ivec)(a > b), a, b); }

/* The largest of the lanes. */
INLINE real largest(vec a) {
#if defined ROTATE_8
    a = larger(a, ROTATE_8(a));
#endif
#if defined ROTATE_4
    a = larger(a, ROTATE_4(a));
#endif
#if defined ROTATE_2
    a = larger(a, ROTATE_2(a));
#endif
    return larger(a, ROTATE_1(a))[0];
}

/* sum a_i b_i over n numbers: lane i mod 16 takes number i.  Padding up to a multiple of 16 is readable, not used. */
INLINE real lane_dot(const real *a, const real *b, ptrdiff_t n) {
    vec lanes[LANE_VECTORS] = {0};
    ptrdiff_t i = 0;
    for (; i + BP_LANES <= n; i += BP_LANES)
        for (int l = 0; l < LANE_VECTORS; l++)
            lanes[l] = VFMA(loadu(a + i + l * VL), loadu(b + i + l * VL), lanes[l]);
    if (i < n)
        for (int l = 0; l < LANE_VECTORS; l++)
            lanes[l] = VFMA(first_of(loadu(a + i + l * VL), n - i - l * VL),
                            first_of(loadu(b + i + l * VL), n - i - l * VL), lanes[l]);
    return fold(lanes);
}

/* sum a_i over n numbers, a multiple of BP_LANES, in the same lanes. */
INLINE real lane_sum(const real *a, ptrdiff_t n) {
    vec lanes[LANE_VECTORS] = {0};
    for (ptrdiff_t i = 0; i < n; i += BP_LANES)
        for (int l = 0; l < LANE_VECTORS; l++) lanes[l] += loadu(a + i + l * VL);
    return fold(lanes);
}

INLINE ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t to) { return (n + to - 1) / to * to; }
INLINE ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* A square of VL x VL turned, in place: log2(VL) rounds of interleaving the first half with the second. */
INLINE void turn(vec a[VL]) {
    vec b[VL];
    for (int round = 1; round < VL; round *= 2) {
        for (int i = 0; i < VL / 2; i++) {
            b[2 * i] = INTERLEAVE_LOW(a[i], a[i + VL / 2]);
            b[2 * i + 1] = INTERLEAVE_HIGH(a[i], a[i + VL / 2]);
        }
        for (int i = 0; i < VL; i++) a[i] = b[i];
    }
}

/* t[j][i] = s[i][j] for such a square. */
static __attribute__((noinline)) void transpose(real *t, ptrdiff_t ldt, const real *s, ptrdiff_t lds) {
    vec a[VL];
    for (int i = 0; i < VL; i++) a[i] = load(s + i * lds);
    turn(a);
    for (int i = 0; i < VL; i++) store(t + i * ldt, a[i]);
}
