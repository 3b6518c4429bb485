"""Elementary functions of one float32 or float64, as straight-line code that LLVM vectorises in a plain loop.

Twins of native/mathf.h, the same formulas with the same coefficients: exp, expm1 of x <= 0, log, the core of log1p,
tanh, sigmoid, and the tail of erf.  NaN in, NaN out; +-inf give the limits; overflow is inf; exp of what would be a
denormal is 0; log1p and sin of -0 are 0.  Largest errors that tests/test_scalars.py finds, in ulp, with fused
multiply-add:

              float32   float64
    exp         0.9       0.9
    expm1       1.9       2.5
    log         1.0       1.3
    log1p       1.4       1.5
    tanh        2.6       2.8
    sigmoid     2.5       2.5
    sqrt        0.5       0.5
    sin, cos    1.6       1.6     for |x| < 1e5; much farther they are wrong
    erf         2.3       2.1
    pow         0.5       1.4     float32 by way of float64; a constant whole exponent up to 6 by products: 4

The texts run once for each place of use, on numbers in the making (emit.py): see there.
"""

import math

# Coefficients from the highest power down, of float32 and of float64: minimax fits by Remez exchange.
EXP = ((0.00280720578, 0.01674457454, 0.0833311006, 0.333329766, 1, 2),
       (5.0000107757772465e-08, 5.5260496844865697e-07, 5.5115172793483162e-06, 4.9602986197466705e-05,
        0.00039682539013110712, 0.0027777777887260722, 0.01666666666698894, 0.083333333333060311, 0.33333333333332826,
        1.0000000000000022, 2))
LOG = ((0.298709333, 0.399775803, 0.666667759),
       (0.14796260464205976, 0.1531402119799177, 0.18183565403853949, 0.22222198553858097, 0.28571428742561256,
        0.39999999999413971, 0.6666666666666734))
MILLS = ((-0.000126269864, 0.000191851024, 0.00157487264, -0.0035179751, -0.00752875488, 0.0604044423, -0.186522871,
          0.387136877, -0.607896626, 0.755285144),
         (-2.5798981054639068e-09, -5.6525035076263637e-09, 2.2939875341922543e-08, 5.0250498435940875e-08,
          -1.775959230321839e-07, -2.6777500628855424e-07, 1.4838663000974768e-06, 4.4635250649666868e-07,
          -1.2118899757732926e-05, 1.63199794626421e-05, 7.1414851154000543e-05, -0.00032452265083025497,
          0.00026960400084936621, 0.0024429826743493062, -0.013923510565676613, 0.045097580814910151,
          -0.10970308995871836, 0.21787243285795863, -0.3670490652936198, 0.53559648906249469, -0.68518342057433812,
          0.77376963427640677))
SIN = ((-0.00019497238, 0.008332051, -0.16666654),  # (sin(r)/r - 1) / r^2 in r^2, |r| <= pi/4
       (1.5891457192141047e-10, -2.5050679543594856e-08, 2.7557313313449685e-06, -0.00019841269829234034,
        0.008333333333322663, -0.16666666666666638))
COS = ((2.4457095e-05, -0.0013887604, 0.041666653),  # (cos(r) - 1 + r^2/2) / r^4 in r^2
       (-1.1365946290643569e-11, 2.087586330913585e-09, -2.755731552688276e-07, 2.4801587294058422e-05,
        -0.0013888888888882213, 0.04166666666666665))
ERF = ((-0.0005660156, 0.0049247895, -0.026717708, 0.112804115, -0.37612355, 1.1283791),  # erf(x)/x in x^2, |x| <= 1
       (-7.801196419457962e-10, 1.3722978799233997e-08, -1.6209176090497272e-07, 1.6447517639900418e-06,
        -1.4924744654218765e-05, 0.00012055295319651276, -0.0008548325989653818, 0.0052239776074222,
        -0.026866170643276007, 0.11283791670945252, -0.3761263890318355, 1.1283791670955126))
HALF_PI = (("0x1.921fb6p+0", "-0x1.777a5cp-25", "-0x1.ee59dap-50"),  # in parts
           ("0x1.921fb54442d18p+0", "0x1.1a62633145c07p-54", "-0x1.f1976b7ed8fbcp-110"))
MANTISSA, BIAS = {32: 23, 64: 52}, {32: 127, 64: 1023}


# -- what a processor does in one instruction ------------------------------------------------------------


def fma(a, b, c):
    """a b + c, with one rounding where the processor has it."""
    return a.intrinsic("llvm.fmuladd", b, c)


def where(condition, a, b):
    """a if condition else b, in the type of the one that is in the making; of two constants, as doubles."""
    if not hasattr(condition, "ir"):
        return a if condition else b
    return condition.choose(a, b)


def neg(x):
    return -x


def add(a, b):
    return a + b


def sub(a, b):
    return a - b


def mul(a, b):
    return a * b


def truediv(a, b):
    return a / b


def abs(x):
    return x.intrinsic("llvm.fabs")


def floor(x):
    return x.intrinsic("llvm.floor")


def ceil(x):
    return x.intrinsic("llvm.ceil")


def sqrt(x):
    return x.intrinsic("llvm.sqrt")


def copysign(x, sign):
    """|x| with the sign of another."""
    return x.intrinsic("llvm.copysign", sign)


# -- texts ------------------------------------------------------------------------------------------------


def horner(x, coefficients):
    first, *others = coefficients[x.bits == 64]
    y = x.like(first)
    for coefficient in others:
        y = fma(y, x, x.like(coefficient))
    return y


def in_ln2(x):
    """ln 2 in two parts, of which the first has few bits, so that k times it is exact."""
    return (x.pick(float.fromhex("0x1.62ep-1"), float.fromhex("0x1.62e42feep-1")),
            x.pick(float.fromhex("0x1.0bfbe8p-15"), float.fromhex("0x1.a39ef35793c76p-33")))


def exp_reduce(x):
    """x = k ln 2 + r, |r| <= ln 2 / 2: -> k, r, 2^(k-1), 2 (exp(r) - 1) / r   (mathf.h says more)."""
    high, low = in_ln2(x)
    shift = x.pick(1.5 * 2**23 + (BIAS[32] - 1), 1.5 * 2**52 + (BIAS[64] - 1))
    t = fma(x, x.like(1 / math.log(2)), shift)
    k = t - shift
    r = fma(-k, low, fma(-k, high, x))
    return k, r, (t.word() << MANTISSA[x.bits]).real(), horner(r, EXP)


def exp(x):
    k, r, half, series = exp_reduce(x)
    y = fma(series, r, x.like(2)) * half
    y = where(x > x.pick(89, 710), math.inf, y)
    return where(k < 2 - BIAS[x.bits], 0, y)


def expm1(x):
    """2^(k-1) 2 (exp(r) - 1) + (2^k - 1); where 1 is nothing beside exp x, exp x."""
    k, r, half, series = exp_reduce(x)
    y = fma(series * r, half, 2 * half - 1)
    y = where(k > MANTISSA[x.bits] + 2, fma(series, r, x.like(2)) * half, y)
    y = where(x > x.pick(89, 710), math.inf, y)
    return copysign(where(k < -2 - MANTISSA[x.bits], -1, y), x)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def tanh(x):
    """tanh |x| = -t / (t + 2), t = exp(-2|x|) - 1."""
    u = -2 * abs(x)
    k, r, half, series = exp_reduce(u)
    t = fma(series * r, half, 2 * half - 1)
    t = where(k < -2 - MANTISSA[x.bits], -1, t)
    return copysign(t / (t + 2), x)


def log_sum(k, f):
    """k ln 2 + log(1 + f), sqrt(1/2) <= 1 + f < sqrt 2, in the form of fdlibm."""
    high, low = in_ln2(f)
    s = f / (f + 2)
    z = s * s
    y = fma(-s, fma(-z, horner(z, LOG), f), fma(k, low, f))
    return fma(k, high, y)


def split(x):
    """x = 2^k m, sqrt(1/2) <= m < sqrt 2, for x > 0: -> k, m."""
    bits = x.bits
    unit, smallest = x.pick(2.0**23, 2.0**52), x.pick(2.0**-126, 2.0**-1022)
    one, root = x.like(1).word(), x.like(float.fromhex("0x1.6a09e6p-1")).word()
    is_small = x < smallest
    scaled = where(is_small, x * unit, x)  # denormals become normal
    bias = where(is_small, unit + (BIAS[bits] + MANTISSA[bits]), unit + BIAS[bits])
    word = scaled.word() + (one - root)
    m = ((word & ((1 << MANTISSA[bits]) - 1)) + root).real()
    return ((word >> MANTISSA[bits]) | unit.word()).real() - bias, m


def log_limits(x, k):
    """k, which brings the special values of log x into the result."""
    k = where(x < math.inf, k, x)
    k = where(x == 0, -math.inf, k)
    return where(x < 0, math.nan, k)


def log(x):
    k, m = split(x)
    return log_sum(log_limits(x, k), m - 1)


def log1p(x):
    """log(1 + x) = k ln 2 + log(m + e / 2^k), where 1 + x = 2^k m + e, and e is what is rounded away."""
    u = 1 + x
    without = u - 1
    e = (1 - (u - without)) + (x - without)
    k, m = split(u)
    inverse = (u.like(1).word() + (m.word() - u.word())).real()  # 2^-k
    f = (m - 1) + where(u < u.pick(2.0**25, 2.0**54), e * inverse, 0)
    return log_sum(log_limits(u, k), where(u > 0, f, 0))


def _quarter_turns(x, more):
    """sin(x + more pi/2), by x = k pi/2 + r."""
    shift = x.pick(1.5 * 2**23, 1.5 * 2**52)
    t = fma(x, x.like(2 / math.pi), shift)
    k = t - shift
    r = x
    for parts in zip(*HALF_PI):
        r = fma(-k, x.pick(*map(float.fromhex, parts)), r)
    quadrant = t.word() + more
    z = r * r
    sine = fma(horner(z, SIN), z * r, r)
    cosine = fma(z * z, horner(z, COS), fma(x.like(-0.5), z, x.like(1)))
    y = where(quadrant.is_set(0), cosine, sine)
    y = where(quadrant.is_set(1), -y, y)
    return where(abs(x) < math.inf, y, math.nan)


def sin(x):
    return _quarter_turns(x, 0)


def cos(x):
    return _quarter_turns(x, 1)


def erf(x):
    """x P(x^2) up to 1; beyond, 1 - 2 Phi(-sqrt 2 |x|), with Phi as in mathf.h."""
    limit = x.pick(4.5, 6.5)  # from where on it is 1
    size = abs(x)
    size = where(size > limit, limit, size)
    a, center = math.sqrt(2) * size, x.pick(4, 5.5)
    u = 1 / (a + center)
    ratio = horner(fma(-2 * center, u, x.like(1)), MILLS) * u
    tail = 2 * ratio * exp(-size * size)
    small = size * horner(size * size, ERF)
    return copysign(where(size < 1, small, where(size < limit, 1 - tail, where(size == limit, 1, size))), x)


def log_in_two(x):
    """log x as an unevaluated sum of two, for doubles; as log_sum, and with what its roundings lost."""
    k, m = split(x)
    f = m - 1  # exact
    high, low = in_ln2(x)
    d = f + 2
    s = f / d
    s_low = (fma(-s, d, f) - s * (f - (d - 2))) / d
    z = s * s
    tail = x.like(0)
    for n in range(27, 3, -2):  # the series of atanh, after its first two terms
        tail = fma(tail, z, x.like(1 / n))
    tail = tail * z
    third = x.like(1 / 3)
    cubic = third + tail  # s^3 (1/3 + tail), and what this rounding and that of 1/3 lost
    cubic_low = (third - cubic) + tail + 2.0**-54 / 1.5
    z_low = fma(s, s, -z) + 2 * s * s_low
    w = z * cubic
    w_low = fma(z, cubic, -w) + z * cubic_low + z_low * cubic
    head = k * high
    two_s = 2 * s
    total = head + two_s
    lost = where(abs(head) > abs(two_s), (head - total) + two_s, (two_s - total) + head)
    p = two_s * w
    p_low = fma(two_s, w, -p) + two_s * w_low
    rest = lost + (fma(k, low, 2 * s_low) + p_low)
    more = total + p
    rest = rest + ((total - more) + p)
    result = more + rest
    return result, (more - result) + rest


def pow(a, b):
    """a ** b as C has it; a constant small whole b by products.  float32 by way of float64."""
    if isinstance(b, int | float):
        if b == 0.5:
            return where(a == -math.inf, math.inf, sqrt(a) + 0)
        if b == int(b) and -6 <= b <= 6:
            return _whole_power(a, int(b))
        b = a.like(b)
    a = b.like(a)
    bits, a, b = a.bits, a.widened(), b.widened()
    size = abs(a)
    high, low = log_in_two(size) if bits == 64 else (log_sum(split(size)[0], split(size)[1] - 1), None)
    high = where(size < math.inf, high, math.inf)
    high = where(size == 0, -math.inf, high)
    y = b * high
    finite = exp(y)
    if low is not None:
        lost = fma(b, high, -y) + b * low
        finite = where((abs(y) < 800) & (finite < math.inf), fma(finite, lost, finite), finite)
    y = where(size == 1, 1, finite)
    whole, odd = floor(b) == b, floor(b * 0.5) != b * 0.5
    odd = odd & whole & (abs(b) < math.inf)
    y = where(odd, copysign(y, a), y)
    y = where((a < 0) & ~whole & (size < math.inf), math.nan, y)
    y = where((a != a) | (b != b), math.nan, y)
    y = where((b == 0) | (a == 1), 1, y)
    return y.narrowed(bits)


def _whole_power(a, n):
    if n == 0:
        return a.like(1)
    y, square, rest = None, a, n if n > 0 else -n
    while rest:
        if rest & 1:
            y = square if y is None else y * square
        rest >>= 1
        square = square * square if rest else square
    return y if n > 0 else 1 / y
