/* Dropout, the twin of dropout.py: y = a x + b of a unit that is kept, y = c of one that is dropped. */

/* The constants of a kind, a, b, c of dropout.py. */
typedef struct {
    real a, b, c;
} noise;

static noise dropout_constants(double rate) { return (noise){(real)(1 / (1 - rate)), 0, 0}; }

static noise alpha_dropout_constants(double rate) {
    const double q = 1 - rate, d = -1.0507009873554805 * 1.6732632423543772;
    const double a = 1 / __builtin_sqrt(q + d * d * q * (1 - q)), b = -a * (1 - q) * d;
    return (noise){(real)a, (real)b, (real)(a * d + b)};
}

/* Rows of a batch, whose draws follow each other: y from x, and the factor of each unit into `before`. */
static void drop(const bp_job *job, const bp_instruction *it, bp_part part, noise of) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const ptrdiff_t n = out->h * out->w * out->c, blocks = (n + 3) / 4;
    const uint64_t least = (uint64_t)__builtin_llrint(it->settings[0] * 0x1p32); /* of a word that keeps its unit */
    const uint32_t most = (uint32_t)(least - 1);                                 /* of one that does not */
    const real dropped = least > 0 ? 0 : of.a, constant = least > 0 ? of.c : of.b;
    const uint32_t purpose = BP_DROPOUT | (uint32_t)it->settings[1] << 8;
    uint32_t words[4 * BP_BLOCKS];
    ptrdiff_t drawn = 0, first = (job->first_row + part.begin) * blocks * 4; /* words first .. drawn are at hand */
    for (ptrdiff_t r = part.begin; r < part.end; r++) {
        const real *x = row_at(job, in->value, in, r);
        real *y = row_at(job, out->value, out, r), *factor = row_at(job, out->noted, out, r);
        for (ptrdiff_t j = 0, run; j < n; j += run) {
            const ptrdiff_t word = (job->first_row + r) * blocks * 4 + j, channel = j % out->c, pixel = j / out->c;
            if (word >= drawn) {
                first = word / 4 * 4;
                drawn = first + 4 * BP_BLOCKS;
                philox(words, (uint32_t)(first / 4), purpose, job->step, job->seed);
            }
            run = smaller(drawn - word, out->pitch == out->c && in->pitch == in->c ? n - j : out->c - channel);
            const real *from = x + pixel * in->pitch + channel;
            real *to = y + pixel * out->pitch + channel, *f = factor + pixel * out->pitch + channel;
            const uint32_t *w = words + (word - first);
            INDEPENDENT for (ptrdiff_t k = 0; k < run; k++) {
                const int kept = w[k] > most;
                f[k] = kept ? of.a : dropped;
                to[k] = FMA(f[k], from[k], kept ? of.b : constant);
            }
        }
    }
}

static void dropout_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    if (job->trains) drop(job, it, part, dropout_constants(it->settings[0]));
    else copy_forward(job, it, part);
}

static void alpha_dropout_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    if (job->trains) drop(job, it, part, alpha_dropout_constants(it->settings[0]));
    else copy_forward(job, it, part);
}

static void dropout_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const ptrdiff_t factor = job->values[it->output].noted - job->values[it->output].delta; /* from dy */
    if (it->adds_dx[0]) FOR_CHANNELS(job, it, part.begin, part.end, dx[j] = FMA(dy[factor + j], dy[j], dx[j]))
    else FOR_CHANNELS(job, it, part.begin, part.end, dx[j] = dy[factor + j] * dy[j])
}
