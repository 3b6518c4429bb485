/* Normalisation, the twin of norms.py: y = scale n + shift, n = (x - mean) / sqrt(variance + eps).
 *
 * Sums over a batch go on in a fixed order, whoever takes which rows: over the pixels of a row in four chains, then
 * over the rows.  A layer's sums over channels use the virtual lanes of vector.h. */

/* -- batch normalisation: of every channel, over the pixels of all rows ----------------------------------- */

/* What the batch has made of a channel, one array after the other in a value's `kept`. */
enum { MEAN, ROOT, VARIANCE, BATCH_NUMBERS }; /* ROOT: 1 / sqrt(variance + eps) */

static real *kept_of(const bp_job *job, const bp_value *out, int which) {
    return (real *)job->work + out->kept + which * round_up(out->c, BP_LANES);
}

/* The two sums of a row, over its pixels: those of the mean and of the squares about it, or of dy and n dy. */
static real *row_sums(const bp_job *job, const bp_value *out, ptrdiff_t row, int which) {
    return (real *)job->work + out->noted + (2 * row + which) * round_up(out->c, BP_LANES);
}

/* The sum of TERM, a vec of place k, over n places, in four chains. */
#define FOUR_CHAINS(sum, n, TERM)                                                                                 \
    {                                                                                                             \
        vec chains_[4] = {{0}, {0}, {0}, {0}};                                                                    \
        ptrdiff_t k = 0;                                                                                          \
        while (k + 4 <= (n))                                                                                      \
            for (int c_ = 0; c_ < 4; c_++, k++) chains_[c_] += TERM;                                              \
        for (int c_ = 0; k < (n); c_++, k++) chains_[c_] += TERM;                                                 \
        sum = (chains_[0] + chains_[1]) + (chains_[2] + chains_[3]);                                              \
    }

/* The mean, and the sum of squares about it, of channels j .. j + VL at n places. */
INLINE void moments(vec *mean, vec *squares, const real *x, ptrdiff_t n, ptrdiff_t step) {
    vec sum;
    FOUR_CHAINS(sum, n, loadu(x + k * step))
    const vec m = *mean = sum / splat((real)n);
    FOUR_CHAINS(*squares, n, (loadu(x + k * step) - m) * (loadu(x + k * step) - m))
}

static void batch_norm_prepare(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const ptrdiff_t pixels = in->h * in->w;
    for (ptrdiff_t r = part.begin; pixels > 1 && r < part.end; r++)
        for (ptrdiff_t j = 0; j < in->c; j += VL) {
            vec mean, squares;
            moments(&mean, &squares, row_at(job, in->value, in, r) + j, pixels, in->pitch);
            store(row_sums(job, out, r, 0) + j, mean);
            store(row_sums(job, out, r, 1) + j, squares);
        }
}

/* Mean, root and variance of the batch: of vectors from the rows, of images from what each row has found. */
static void batch_moments(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, real *numbers) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const ptrdiff_t pixels = in->h * in->w, stride = round_up(in->c, BP_LANES);
    for (ptrdiff_t j = 0; j < in->c; j += VL) {
        vec mean, squares;
        if (pixels == 1) moments(&mean, &squares, row_at(job, in->value, in, 0) + j, rows, in->ld);
        else {
            mean = load(row_sums(job, out, 0, 0) + j), squares = load(row_sums(job, out, 0, 1) + j);
            for (ptrdiff_t r = 1; r < rows; r++) { /* Chan, Golub & LeVeque 1983, eq. 2.1 */
                const vec apart = load(row_sums(job, out, r, 0) + j) - mean;
                mean += apart * splat(1 / (real)(r + 1));
                squares += load(row_sums(job, out, r, 1) + j) + apart * apart * splat((real)(pixels * r) / (real)(r + 1));
            }
        }
        const vec variance = squares * splat(1 / (real)(rows * pixels));
        storeu(numbers + MEAN * stride + j, mean);
        storeu(numbers + VARIANCE * stride + j, variance);
        for (ptrdiff_t k = j; k < j + VL; k++)
            numbers[ROOT * stride + k] = 1 / bp_sqrt(numbers[VARIANCE * stride + k] + (real)it->settings[0]);
    }
}

/* The rows of a batch that this thread knows to be there: prepare and collect are done for all of them. */
static void batch_norm_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *to = job->values + it->output;
    const ptrdiff_t stride = round_up(to->c, BP_LANES);
    real *numbers = job->scratch;
    if (job->trains) {
        batch_moments(job, it, job->rows, numbers);
        if (part.begin == 0) memcpy(kept_of(job, to, 0), numbers, (size_t)(BATCH_NUMBERS * stride) * sizeof(real));
    } else {
        memcpy(numbers, array_of(job, it->statistics[0]), (size_t)to->c * sizeof(real));
        for (ptrdiff_t j = 0; j < to->c; j++)
            numbers[ROOT * stride + j] = 1 / bp_sqrt(array_of(job, it->statistics[1])[j] + (real)it->settings[0]);
    }
    const real *mean = numbers + MEAN * stride, *root = numbers + ROOT * stride, floor = floor_of(it);
    if (it->weight) {
        const real *scale = array_of(job, it->weight), *shift = array_of(job, it->bias);
        FOR_CHANNELS(job, it, part.begin, part.end, y[j] = not_below(FMA(scale[j], (x[j] - mean[j]) * root[j], shift[j]), floor))
    } else FOR_CHANNELS(job, it, part.begin, part.end, y[j] = not_below((x[j] - mean[j]) * root[j], floor))
    activate_part(job, it, part);
}

/* The sums of dy and of n dy over n places, of channels j .. j + VL. */
INLINE void delta_sums(vec *plain, vec *scaled, const real *dy, const real *x, ptrdiff_t n, ptrdiff_t dy_step,
                       ptrdiff_t x_step, vec mean, vec root) {
    FOUR_CHAINS(*plain, n, loadu(dy + k * dy_step))
    FOUR_CHAINS(*scaled, n, loadu(dy + k * dy_step) * ((loadu(x + k * x_step) - mean) * root))
}

static void batch_norm_collect(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const ptrdiff_t pixels = in->h * in->w;
    for (ptrdiff_t r = part.begin; pixels > 1 && r < part.end; r++)
        for (ptrdiff_t j = 0; j < in->c; j += VL) {
            vec plain, scaled;
            delta_sums(&plain, &scaled, row_at(job, out->delta, out, r) + j, row_at(job, in->value, in, r) + j, pixels,
                       out->pitch, in->pitch, load(kept_of(job, out, MEAN) + j), load(kept_of(job, out, ROOT) + j));
            store(row_sums(job, out, r, 0) + j, plain);
            store(row_sums(job, out, r, 1) + j, scaled);
        }
}

/* The sums of dy and of n dy over the batch, of channels j .. j + VL. */
static void batch_delta_sums(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, ptrdiff_t j, vec *plain, vec *scaled) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    if (in->h * in->w == 1) {
        delta_sums(plain, scaled, row_at(job, out->delta, out, 0) + j, row_at(job, in->value, in, 0) + j, rows, out->ld,
                   in->ld, load(kept_of(job, out, MEAN) + j), load(kept_of(job, out, ROOT) + j));
        return;
    }
    *plain = *scaled = splat(0);
    for (ptrdiff_t r = 0; r < rows; r++)
        *plain += load(row_sums(job, out, r, 0) + j), *scaled += load(row_sums(job, out, r, 1) + j);
}

/* dx = scale root (dy - (sum dy + n sum n dy) / count). */
static void batch_norm_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *to = job->values + it->output;
    const ptrdiff_t stride = round_up(to->c, BP_LANES);
    const real share = 1 / (real)(job->rows * to->h * to->w);
    const real *mean = kept_of(job, to, MEAN), *root = kept_of(job, to, ROOT);
    real *plain = job->scratch, *scaled = plain + stride, *factor = scaled + stride;
    for (ptrdiff_t j = 0; j < to->c; j += VL) {
        vec sums[2];
        batch_delta_sums(job, it, job->rows, j, sums, sums + 1);
        storeu(plain + j, sums[0] * splat(share));
        storeu(scaled + j, sums[1] * splat(share));
    }
    for (ptrdiff_t j = 0; j < to->c; j++) factor[j] = it->weight ? array_of(job, it->weight)[j] * root[j] : root[j];
#define BATCH_NORM_DX factor[j] * (dy[j] - plain[j] - (x[j] - mean[j]) * root[j] * scaled[j])
    if (it->adds_dx[0]) FOR_CHANNELS(job, it, part.begin, part.end, dx[j] += BATCH_NORM_DX)
    else FOR_CHANNELS(job, it, part.begin, part.end, dx[j] = BATCH_NORM_DX)
}

static void batch_norm_gradient(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, ptrdiff_t begin, ptrdiff_t end) {
    (void)begin, (void)end;
    for (ptrdiff_t first = 0; first < it->weight->n_out; first += PANEL) {
        real scale[PANEL] = {0}, shift[PANEL] = {0};
        for (ptrdiff_t j = first; j < smaller(first + PANEL, it->weight->n_out); j += VL) {
            vec plain, scaled;
            batch_delta_sums(job, it, rows, j, &plain, &scaled);
            storeu(shift + j - first, plain);
            storeu(scale + j - first, scaled);
        }
        end_sums(job, it->weight, first, scale);
        end_sums(job, it->bias, first, shift);
    }
}

/* running = (1 - momentum) running + momentum batch, the variance unbiased; one number has none. */
static void batch_norm_learn(const bp_job *job, const bp_instruction *it, ptrdiff_t rows) {
    const bp_value *out = job->values + it->output;
    const ptrdiff_t n = rows * out->h * out->w;
    const real momentum = (real)it->settings[1], unbiased = (real)((double)n / (double)(n > 1 ? n - 1 : 1));
    real *mean = array_of(job, it->statistics[0]), *variance = array_of(job, it->statistics[1]);
    for (ptrdiff_t j = 0; j < out->c; j++) {
        mean[j] = (1 - momentum) * mean[j] + momentum * kept_of(job, out, MEAN)[j];
        if (n > 1) variance[j] = (1 - momentum) * variance[j] + momentum * (unbiased * kept_of(job, out, VARIANCE)[j]);
    }
}

/* -- layer normalisation: of every pixel, over its channels ------------------------------------------------- */

/* The sum of TERM, a vec of the channels at .. at + VL, over n channels, in lanes. */
#define LANES_OF(sum, n, TERM)                                                                                    \
    {                                                                                                             \
        vec lanes_[LANE_VECTORS] = {{0}};                                                                         \
        for (ptrdiff_t i_ = 0; i_ < (n); i_ += BP_LANES)                                                          \
            for (int l_ = 0; l_ < LANE_VECTORS; l_++) {                                                           \
                const ptrdiff_t at = i_ + l_ * VL;                                                                \
                lanes_[l_] += first_of(TERM, (n) - at);                                                           \
            }                                                                                                     \
        sum = fold(lanes_);                                                                                       \
    }

/* Mean and 1 / sqrt(variance + eps) of a pixel, kept for the way back. */
static real *pixel_numbers(const bp_job *job, const bp_value *out, ptrdiff_t row, ptrdiff_t pixel) {
    return (real *)job->work + out->noted + row * round_up(2 * out->h * out->w, BP_LANES) + 2 * pixel;
}

/* A pixel of the input and of the output. */
typedef struct {
    const real *x, *dy;
    real *y, *dx, *numbers;
} place;

static place place_at(const bp_job *job, const bp_instruction *it, ptrdiff_t row, ptrdiff_t pixel) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    return (place){row_at(job, in->value, in, row) + pixel * in->pitch, row_at(job, out->delta, out, row) + pixel * out->pitch,
                   row_at(job, out->before, out, row) + pixel * out->pitch,
                   row_at(job, in->delta, in, row) + pixel * in->pitch, pixel_numbers(job, out, row, pixel)};
}

static void layer_norm_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *out = job->values + it->output;
    const ptrdiff_t n = out->c, whole = WHOLE(round_up(n, VL)), pixels = out->h * out->w;
    const real *scale = it->weight ? array_of(job, it->weight) : 0, *shift = it->bias ? array_of(job, it->bias) : 0;
    const real floor = floor_of(it);
    for (ptrdiff_t i = part.begin * pixels; i < part.end * pixels; i++) {
        const place p = place_at(job, it, i / pixels, i % pixels);
        real sum, squares;
        LANES_OF(sum, n, loadu(p.x + at))
        const real mean = p.numbers[MEAN] = sum / (real)n;
        LANES_OF(squares, n, (loadu(p.x + at) - splat(mean)) * (loadu(p.x + at) - splat(mean)))
        const real root = p.numbers[ROOT] = 1 / bp_sqrt(squares / (real)n + (real)it->settings[0]);
        if (scale)
            INDEPENDENT for (ptrdiff_t j = 0; j < whole; j++)
                p.y[j] = not_below(FMA(scale[j], (p.x[j] - mean) * root, shift[j]), floor);
        else INDEPENDENT for (ptrdiff_t j = 0; j < whole; j++) p.y[j] = not_below((p.x[j] - mean) * root, floor);
    }
    activate_part(job, it, part);
}

/* dx = root (g - mean of g - n mean of n g), g = scale dy. */
static void layer_norm_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *out = job->values + it->output;
    const ptrdiff_t n = out->c, whole = WHOLE(round_up(n, VL)), pixels = out->h * out->w;
    const real *scale = it->weight ? array_of(job, it->weight) : 0;
    const int adds = it->adds_dx[0];
    for (ptrdiff_t i = part.begin * pixels; i < part.end * pixels; i++) {
        const place p = place_at(job, it, i / pixels, i % pixels);
        const real mean = p.numbers[MEAN], root = p.numbers[ROOT];
        real plain, scaled;
#define LAYER_NORM_G ((scale ? loadu(scale + at) : splat(1)) * loadu(p.dy + at))
        LANES_OF(plain, n, LAYER_NORM_G)
        LANES_OF(scaled, n, LAYER_NORM_G * ((loadu(p.x + at) - splat(mean)) * splat(root)))
        plain /= (real)n, scaled /= (real)n;
        INDEPENDENT for (ptrdiff_t j = 0; j < whole; j++) {
            const real g = scale ? scale[j] * p.dy[j] : p.dy[j], d = root * (g - plain - (p.x[j] - mean) * root * scaled);
            p.dx[j] = adds ? p.dx[j] + d : d;
        }
        for (ptrdiff_t j = n; j < whole; j++) p.dx[j] = 0; /* padding is no unit of the layer before */
    }
}

static void layer_norm_gradient(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *out = job->values + it->output;
    const ptrdiff_t pixels = out->h * out->w;
    (void)begin, (void)end;
    for (ptrdiff_t first = 0; first < it->weight->n_out; first += PANEL) {
        const ptrdiff_t width = WHOLE(smaller(PANEL, round_up(it->weight->n_out - first, VL)));
        real scale[PANEL], shift[PANEL];
        begin_sums(job, it->weight, first, scale);
        begin_sums(job, it->bias, first, shift);
        for (ptrdiff_t i = 0; i < rows * pixels; i++) {
            const place p = place_at(job, it, i / pixels, i % pixels);
            const real mean = p.numbers[MEAN], root = p.numbers[ROOT], *x = p.x + first, *dy = p.dy + first;
            INDEPENDENT for (ptrdiff_t j = 0; j < width; j++) {
                scale[j] = FMA(dy[j], (x[j] - mean) * root, scale[j]);
                shift[j] += dy[j];
            }
        }
        end_sums(job, it->weight, first, scale);
        end_sums(job, it->bias, first, shift);
    }
}

/* -- y = (x - mean) / deviation ------------------------------------------------------------------------------ */

static void standardize_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const real *mean = array_of(job, it->statistics[0]), *deviation = array_of(job, it->statistics[1]);
    FOR_CHANNELS(job, it, part.begin, part.end, y[j] = (x[j] - mean[j]) / deviation[j])
}

static void standardize_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const real *deviation = array_of(job, it->statistics[1]);
    if (it->adds_dx[0]) FOR_CHANNELS(job, it, part.begin, part.end, dx[j] += dy[j] / deviation[j])
    else FOR_CHANNELS(job, it, part.begin, part.end, dx[j] = dy[j] / deviation[j])
}
