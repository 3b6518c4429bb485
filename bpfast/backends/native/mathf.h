/* Elementary functions on `real` (float or double) for plain loops, which the compiler vectorises:

       for (i = 0; i < n; i++) y[i] = bp_tanh(x[i]);

   Straight-line code: no branches, tables, libm or rcp/rsqrt. A result depends on its argument
   alone, never on the vector width, and is the same on every CPU that fuses FMA.
   NaN in, NaN out; +-inf give the limits; overflow is inf. Round to nearest is assumed.

   Largest error found, in ulp, and [without fused FMA]:

                         float              double
       bp_exp            0.9 [1.2]          1.0 [1.2]          0 where exp x < 2^-125.5 (2^-1021.5)
       bp_expm1          1.4 [1.5]          1.5 [1.5]          for x <= 0
       bp_log            1.0 [1.0]          1.3 [1.3]          log 0 = -inf, of denormals as well
       bp_log1p          1.5 [1.6]          1.9 [1.9]          for 0 <= x <= 1
       bp_tanh           2.6 [2.6]          2.8 [2.8]
       bp_sigmoid        2.5 [2.5]          2.5 [2.5]          also where it is tiny
       bp_normal_cdf     4.5 [5 + x*x/2]    5.0 [5 + x*x/2]    the same; 0 below -13.2 (-37.64)
       bp_swish_slope    2.8 [2.8]          2.9 [2.9]          where v = 0
       bp_sqrt           0.5 [0.5]          0.5 [0.5]

   Coefficients are rounded minimax fits (Remez exchange) to about 0.3 ulp or better. */

#include <stdint.h>
#include <string.h>

/* Coefficients from the highest power down: HEAD(first) C(next) ... */
#if REAL_IS_FLOAT
typedef uint32_t bp_word; /* unsigned: AVX2 shifts int64 right only logically */
#define BUILTIN(name) __builtin_##name##f
#define EXP_SERIES(HEAD, C) \
    HEAD(0.00280720578) C(0.01674457454) C(0.0833311006) C(0.333329766) C(1) C(2)
#define LOG_SERIES(HEAD, C) \
    HEAD(0.298709333) C(0.399775803) C(0.666667759)
#define MILLS_SERIES(HEAD, C) \
    HEAD(-0.000126269864) C(0.000191851024) C(0.00157487264) C(-0.0035179751) \
    C(-0.00752875488) C(0.0604044423) C(-0.186522871) C(0.387136877) C(-0.607896626) \
    C(0.755285144)
#else
typedef uint64_t bp_word;
#define BUILTIN(name) __builtin_##name
#define EXP_SERIES(HEAD, C) \
    HEAD(5.0000107757772465e-08) C(5.5260496844865697e-07) C(5.5115172793483162e-06) \
    C(4.9602986197466705e-05) C(0.00039682539013110712) C(0.0027777777887260722) \
    C(0.01666666666698894) C(0.083333333333060311) C(0.33333333333332826) \
    C(1.0000000000000022) C(2)
#define LOG_SERIES(HEAD, C) \
    HEAD(0.14796260464205976) C(0.1531402119799177) C(0.18183565403853949) \
    C(0.22222198553858097) C(0.28571428742561256) C(0.39999999999413971) C(0.6666666666666734)
#define MILLS_SERIES(HEAD, C) \
    HEAD(-2.5798981054639068e-09) C(-5.6525035076263637e-09) C(2.2939875341922543e-08) \
    C(5.0250498435940875e-08) C(-1.775959230321839e-07) C(-2.6777500628855424e-07) \
    C(1.4838663000974768e-06) C(4.4635250649666868e-07) C(-1.2118899757732926e-05) \
    C(1.63199794626421e-05) C(7.1414851154000543e-05) C(-0.00032452265083025497) \
    C(0.00026960400084936621) C(0.0024429826743493062) C(-0.013923510565676613) \
    C(0.045097580814910151) C(-0.10970308995871836) C(0.21787243285795863) \
    C(-0.3670490652936198) C(0.53559648906249469) C(-0.68518342057433812) \
    C(0.77376963427640677)
#endif

#define REAL(as_float, as_double) ((real)(REAL_IS_FLOAT ? (as_float) : (as_double)))
#define LEAD(c) sum_ = (real)(c);
#define STEP(c) sum_ = FMA(sum_, at_, (real)(c));
#define HORNER(SERIES, x) ({ real at_ = (x), sum_; SERIES(LEAD, STEP) sum_; })

#define INF BUILTIN(inf)()
#define LN2_HI REAL(0x1.62ep-1, 0x1.62e42feep-1) /* few bits: k * LN2_HI is exact */
#define LN2_LO REAL(0x1.0bfbe8p-15, 0x1.a39ef35793c76p-33)

enum { BP_MANTISSA = REAL_IS_FLOAT ? 23 : 52, BP_BIAS = REAL_IS_FLOAT ? 127 : 1023 };

static inline bp_word bp_bits(real x) { bp_word b; memcpy(&b, &x, sizeof b); return b; }
static inline real bp_real(bp_word b) { real x; memcpy(&x, &b, sizeof x); return x; }

static inline real bp_sqrt(real x) { return BUILTIN(sqrt)(x); }

static inline real bp_abs(real x) { return BUILTIN(fabs)(x); }

/* -1, 0 or 1. */
static inline real bp_sign(real x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

/* min(max(x, low), high); NaN stays NaN. */
static inline real bp_clamp(real x, real low, real high)
{
    real above = x < low ? low : x;
    return above > high ? high : above;
}

/* x = k ln 2 + r, |r| <= ln 2 / 2, with ln 2 in two parts (Cody & Waite 1980); half = 2^(k-1) and
   series = 2 (exp(r) - 1) / r. Adding `shift` rounds x / ln 2 to k and leaves k - 1 + bias in the low
   bits of t, which a shift makes into 2^(k-1). Not 2^k: that overflows at k = 128 (1024), where exp x
   need not. */
typedef struct { real k, r, half, series; } bp_exp_parts;
static inline bp_exp_parts bp_exp_reduce(real x)
{
    const real shift = REAL(0x1.8p23, 0x1.8p52) + (BP_BIAS - 1);
    const real per_ln2 = (real)0x1.71547652b82fep0;
    real t = FMA(x, per_ln2, shift);
    real k = t - shift;
    real r = FMA(-k, LN2_LO, FMA(-k, LN2_HI, x));
    return (bp_exp_parts){k, r, bp_real(bp_bits(t) << BP_MANTISSA), HORNER(EXP_SERIES, r)};
}

/* exp x = 2^(k-1) * 2 exp(r). */
static inline real bp_exp(real x)
{
    bp_exp_parts e = bp_exp_reduce(x);
    real y = FMA(e.series, e.r, 2) * e.half;
    y = x > REAL(89, 710) ? INF : y;  /* beyond these two the bits of 2^(k-1) are not a power; */
    return e.k < 2 - BP_BIAS ? 0 : y; /* a test of k, as gcc makes slow masks of two tests of x */
}

/* exp(x) - 1 = 2^(k-1) * 2 (exp(r) - 1) + (2^k - 1) for x <= 0: the second term is exact. */
static inline real bp_expm1(real x)
{
    bp_exp_parts e = bp_exp_reduce(x);
    real y = FMA(e.series * e.r, e.half, 2 * e.half - 1);
    return e.k < -2 - BP_MANTISSA ? -1 : y;
}

/* One formula for both signs: exp(-x) = inf gives 0, and 1 + exp(-x) never cancels. */
static inline real bp_sigmoid(real x) { return 1 / (1 + bp_exp(-x)); }

/* k ln 2 + log(1 + f), sqrt(1/2) <= 1 + f < sqrt 2. With s = f / (2 + f), z = s*s:
   log(1 + f) = 2 atanh(s) = f - s*(f - z*P(z)), the form of fdlibm (Sun 1993). */
static inline real bp_log_sum(real k, real f)
{
    real s = f / (f + 2), z = s * s;
    real y = FMA(-s, FMA(-z, HORNER(LOG_SERIES, z), f), FMA(k, LN2_LO, f));
    return FMA(k, LN2_HI, y);
}

/* log x = k ln 2 + log m, sqrt(1/2) <= m < sqrt 2.
   The special values enter through k, which is off the critical path. */
static inline real bp_log(real x)
{
    const real unit = REAL(0x1p23, 0x1p52), smallest = REAL(0x1p-126, 0x1p-1022);
    const bp_word one = bp_bits(1), root = bp_bits((real)0x1.6a09e6p-1); /* sqrt(1/2) */
    const bp_word fraction = ((bp_word)1 << BP_MANTISSA) - 1;
    real scaled = x < smallest ? x * unit : x; /* denormals become normal */
    real bias = x < smallest ? unit + BP_BIAS + BP_MANTISSA : unit + BP_BIAS;
    bp_word b = bp_bits(scaled) + (one - root);
    real m = bp_real((b & fraction) + root);
    real k = bp_real(b >> BP_MANTISSA | bp_bits(unit)) - bias; /* AVX2 cannot convert int64 */
    k = x < INF ? k : x;
    k = scaled == 0 ? -INF : k;
    k = x < 0 ? BUILTIN(nan)("") : k;
    return bp_log_sum(k, m - 1);
}

/* log(1 + x) = k ln 2 + log((1 + x) / 2^k) for 0 <= x <= 1, k = 1 above sqrt 2 - 1; 1 + x would lose
   digits of x. k by rounding, as gcc makes branches of a comparison that follows those of bp_exp. */
static inline real bp_log1p(real x)
{
    const real shift = REAL(0x1.8p23, 0x1.8p52), slope = (real)1.2071067811865475; /* 0.5 / (sqrt 2 - 1) */
    real k = FMA(slope, x, shift) - shift;
    return bp_log_sum(k, FMA(FMA((real)-0.5, k, 1), x, (real)-0.5 * k));
}

/* tanh |x| = -t / (t + 2), t = exp(-2|x|) - 1: one formula near 0 and far from it. */
static inline real bp_tanh(real x)
{
    real t = bp_expm1(-2 * bp_abs(x));
    return BUILTIN(copysign)(t / (t + 2), x); /* tanh -0 = -0 */
}

/* s(u) + v s(u) s(-u) with s = bp_sigmoid: the slope of x s(u) where v = x du/dx. */
static inline real bp_swish_slope(real u, real v)
{
    real t = bp_exp(-bp_abs(u)), r = 1 / (1 + t); /* r = s(|u|), t * r = s(-|u|) */
    return FMA(v, t * (r * r), u < 0 ? t * r : r);
}

/* The normal distribution function and its density.
   Phi(-a) = R(a) exp(-a*a/2), a >= 0, where R is Mills' ratio / sqrt(2 pi) and (a + K) R(a) a
   polynomial in t = (a - K)/(a + K) = 1 - 2K/(a + K)   (Shepherd & Laframboise 1981).
   `miss` and `low` restore, with fused FMA, what the rounding of 1/(a + K) and of a*a lost. */
typedef struct { real cdf, density; } bp_normal;
static inline bp_normal bp_normal_at(real x)
{
    const real K = REAL(4, 5.5), zero_from = REAL(13.4, 38.5), inv_sqrt_2pi = (real)0.398942280401432677939946;
    real a = bp_abs(x);
    a = a > zero_from ? zero_from : a; /* keeps inf - inf out */
    real u = 1 / (a + K), miss = FMA(-u, a, FMA(-u, K, 1));
    real t = FMA(-2 * K * u, miss, FMA(-2 * K, u, 1));
    real ratio = HORNER(MILLS_SERIES, t) * FMA(u, miss, u);
    real square = a * a, low = FMA(a, a, -square);
    real e = bp_exp((real)-0.5 * square);
    e = FMA((real)-0.5 * low, e, e);
    real tail = ratio * e;
    return (bp_normal){x > 0 ? 1 - tail : tail, inv_sqrt_2pi * e};
}

static inline real bp_normal_cdf(real x) { return bp_normal_at(x).cdf; }

#undef BUILTIN
#undef EXP_SERIES
#undef LOG_SERIES
#undef MILLS_SERIES
#undef REAL
#undef LEAD
#undef STEP
#undef HORNER
#undef INF
#undef LN2_HI
#undef LN2_LO
