/* Numbers that kernels do not read as they stand: float16, long double, the other byte order; and class labels. */
#pragma once
#include <string.h>
#include "plan.h"

/* Flushed denormals would lose those of float16; as a whole number times a power of two they are normal in float. */
static inline float bp_float_of_half(uint16_t half) {
    const uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
    uint32_t bits = (exponent + (exponent == 31 ? 224 : 112)) << 23 | mantissa << 13; /* 31: infinity and NaN */
    float size = (float)mantissa * 0x1p-24f;
    if (exponent) memcpy(&size, &bits, sizeof(size));
    return half & 0x8000 ? -size : size;
}

typedef struct {
    unsigned char bytes[sizeof(long double)];
} bp_wide;

static inline double bp_double_of_swapped(bp_wide from) {
    bp_wide to;
    for (size_t i = 0; i < sizeof(to); i++) to.bytes[i] = from.bytes[sizeof(to) - 1 - i];
    long double wide;
    memcpy(&wide, &to, sizeof(wide));
    return (double)wide;
}

/* bp_translate: x of the first type, anywhere in memory, becomes a number of the second. */
#define TRANSLATION(name, from_type, to_type, value)                                                                \
    static inline void name(void *to, const char *from, ptrdiff_t stride, ptrdiff_t n) {                            \
        for (ptrdiff_t j = 0; j < n; j++) {                                                                         \
            from_type x;                                                                                            \
            memcpy(&x, from + j * stride, sizeof(x));                                                               \
            const to_type y = value;                                                                                \
            memcpy((char *)to + j * (ptrdiff_t)sizeof(y), &y, sizeof(y));                                           \
        }                                                                                                           \
    }
TRANSLATION(bp_half, uint16_t, float, bp_float_of_half(x))
TRANSLATION(bp_swapped_half, uint16_t, float, bp_float_of_half(__builtin_bswap16(x)))
TRANSLATION(bp_swapped_2, uint16_t, uint16_t, __builtin_bswap16(x))
TRANSLATION(bp_swapped_4, uint32_t, uint32_t, __builtin_bswap32(x))
TRANSLATION(bp_swapped_8, uint64_t, uint64_t, __builtin_bswap64(x))
TRANSLATION(bp_long_double, long double, double, (double)x)
TRANSLATION(bp_swapped_long_double, bp_wide, double, bp_double_of_swapped(x))
#undef TRANSLATION

/* What reads a type, by NumPy's character, of so many bytes; NULL: kernels do. */
static inline bp_translate *bp_translation(char type, ptrdiff_t size, int swapped) {
    if (type == 'e') return swapped ? bp_swapped_half : bp_half;
    if (type == 'g') return swapped ? bp_swapped_long_double : bp_long_double;
    if (!swapped) return 0;
    return size == 2 ? bp_swapped_2 : size == 4 ? bp_swapped_4 : bp_swapped_8;
}

/* The class of a row; 0 where it has become none since it was checked, so that it leads nowhere outside. */
static inline int64_t bp_label(const bp_table *y, ptrdiff_t row, ptrdiff_t n_classes) {
    const char *from = y->data + row * y->row_stride;
    char translated[sizeof(int64_t)];
    double label = 0;
    if (y->translate) {
        y->translate(translated, from, 0, 1);
        from = translated;
    }
    switch (y->type) {
#define TYPE(type) \
    case BP_##type: label = (double)*(const loose_##type *)from; break;
        BP_TYPES(TYPE)
#undef TYPE
    }
    return label >= 0 && label < (double)n_classes ? (int64_t)label : 0;
}
