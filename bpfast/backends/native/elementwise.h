/* Instructions that work on every number by itself, rows with their padding: activations that stand alone, sums,
 * reshapes, factors of channels.  The twins are their kinds in backends/numpy/instructions.py.
 *
 * A way back writes the delta of an input, or adds to it where an instruction behind has written it (adds_dx). */

INLINE void pass_on(real *dx, const real *dy, ptrdiff_t n, int adds) {
    if (!adds) memcpy(dx, dy, (size_t)n * sizeof(real));
    else
        INDEPENDENT for (ptrdiff_t i = 0; i < n; i++) dx[i] += dy[i];
}

/* -- y = f(x) ----------------------------------------------------------------------------------- */

static void activation_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    real *y = row_at(job, out->value, out, part.begin);
    const real *x = row_at(job, in->value, in, part.begin);
    const ptrdiff_t rows = part.end - part.begin;
    if (it->activation->forward) activate(job, it, y, row_at(job, out->noted, out, part.begin), x, rows, out->n, out->ld);
    else memcpy(y, x, (size_t)(rows * out->ld) * sizeof(real));
}

static void activation_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    real *dx = row_at(job, in->delta, in, part.begin), *dy = row_at(job, out->delta, out, part.begin);
    const real *x = row_at(job, it->activation->forward_slope ? out->noted : in->value, out, part.begin);
    real *dz = it->adds_dx[0] ? dy : dx;
    const ptrdiff_t rows = part.end - part.begin;
    if (it->activation->adjoint)
        it->activation->adjoint(dz, dy, x, row_at(job, out->value, out, part.begin), rows, out->n, out->ld, it->hyper);
    else dz = dy;
    if (dz != dx) pass_on(dx, dz, rows * out->ld, it->adds_dx[0]);
}

/* -- y = a + b ---------------------------------------------------------------------------------- */

static void add_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *values = job->values, *out = values + it->output;
    real *y = row_at(job, out->before, out, part.begin);
    const real *a = row_at(job, values[it->inputs[0]].value, out, part.begin);
    const real *b = row_at(job, values[it->inputs[1]].value, out, part.begin), floor = floor_of(it);
    INDEPENDENT for (ptrdiff_t i = 0, n = (part.end - part.begin) * out->ld; i < n; i++)
        y[i] = not_below(a[i] + b[i], floor);
    activate_part(job, it, part);
}

/* The delta of an input may be the output's (replaced_values). */
static void add_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *out = job->values + it->output;
    for (int s = 0; s < it->n_inputs; s++) {
        const bp_value *in = job->values + it->inputs[s];
        if (in->delta != out->delta)
            pass_on(row_at(job, in->delta, out, part.begin), row_at(job, out->delta, out, part.begin),
                    (part.end - part.begin) * out->ld, it->adds_dx[s]);
    }
}

/* -- y = x in another shape: channels may lie closer together, or farther apart --------------------- */

/* n runs of `length` numbers, or the same numbers in other runs: to[i] += from[i], or = from[i]. */
INLINE void copy_runs(real *to, ptrdiff_t to_length, ptrdiff_t to_pitch, const real *from, ptrdiff_t from_length,
                      ptrdiff_t from_pitch, ptrdiff_t n, int adds) {
    for (ptrdiff_t i = 0; i < n;) {
        const ptrdiff_t t = i % to_length, f = i % from_length;
        const ptrdiff_t run = smaller(smaller(to_length - t, from_length - f), n - i);
        pass_on(to + i / to_length * to_pitch + t, from + i / from_length * from_pitch + f, run, adds);
        i += run;
    }
}

static void copy_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    for (ptrdiff_t r = part.begin; r < part.end; r++)
        copy_runs(row_at(job, out->value, out, r), out->c, out->pitch, row_at(job, in->value, in, r), in->c, in->pitch,
                  in->h * in->w * in->c, 0);
}

/* The place of the input may be the output's, too. */
static void reshape_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    if (job->values[it->inputs[0]].value != job->values[it->output].value) copy_forward(job, it, part);
}

static void reshape_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    for (ptrdiff_t r = part.begin; in->delta != out->delta && r < part.end; r++)
        copy_runs(row_at(job, in->delta, in, r), in->c, in->pitch, row_at(job, out->delta, out, r), out->c, out->pitch,
                  in->h * in->w * in->c, it->adds_dx[0]);
}

/* -- y = s x, for every channel ---------------------------------------------------------------------- */

/* For every channel j of every pixel of rows begin .. end, in whole vectors: STATEMENT, from x[j], dy[j] of the input
 * and the output to y[j], dx[j] of these.  Where the data lie without padding they are read only, up to a vector too far:
 * their own deltas lie behind them. */
#define FOR_CHANNELS(job, it, begin, end, STATEMENT) FOR_SOME_CHANNELS(job, it, begin, end, 0, in->c, STATEMENT)
#define FOR_SOME_CHANNELS(job, it, begin, end, first, last, STATEMENT)                                            \
    {                                                                                                             \
        const bp_value *in = (job)->values + (it)->inputs[0], *out = (job)->values + (it)->output;                \
        for (ptrdiff_t r = (begin); r < (end); r++)                                                               \
            for (ptrdiff_t pixel = 0; pixel < in->h * in->w; pixel++) {                                           \
                const real *x = row_at(job, in->value, in, r) + pixel * in->pitch;                                \
                const real *dy = row_at(job, out->delta, out, r) + pixel * out->pitch;                            \
                real *y = row_at(job, out->before, out, r) + pixel * out->pitch;                                    \
                real *dx = row_at(job, in->delta, in, r) + pixel * in->pitch;                                     \
                (void)x, (void)dy, (void)y, (void)dx;                                                             \
                INDEPENDENT for (ptrdiff_t j = first, stop = first + WHOLE(round_up((last) - first, VL)); j < stop; j++) { \
                    STATEMENT;                                                                                    \
                }                                                                                                 \
            }                                                                                                     \
    }

static void scale_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const real *scale = array_of(job, it->weight);
    FOR_CHANNELS(job, it, part.begin, part.end, y[j] = scale[j] * x[j])
}

static void scale_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const real *scale = array_of(job, it->weight);
    if (it->adds_dx[0]) FOR_CHANNELS(job, it, part.begin, part.end, dx[j] = FMA(scale[j], dy[j], dx[j]))
    else FOR_CHANNELS(job, it, part.begin, part.end, dx[j] = scale[j] * dy[j])
}

/* Channels first .. first + PANEL of a vector's gradient: where the sum begins. */
static void begin_sums(const bp_job *job, const bp_parameter *p, ptrdiff_t first, real g[PANEL]) {
    const real *kept = (const real *)job->gradient + p->offset + first;
    for (ptrdiff_t j = 0; j < PANEL; j++) g[j] = job->continues && first + j < p->n_out ? kept[j] : 0;
}

/* And what is done with it: a step, or it is kept. */
static void end_sums(const bp_job *job, const bp_parameter *p, ptrdiff_t first, real g[PANEL]) {
    const ptrdiff_t width = smaller(PANEL, round_up(p->n_out - first, VL));
    for (ptrdiff_t j = p->n_out - first; j < width; j++) g[j] = 0; /* what is in the padding of pixels is no channel's */
    if (job->update) step(job, p, first, g, width);
    else memcpy((real *)job->gradient + p->offset + first, g, (size_t)width * sizeof(real));
}

static void scale_gradient(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, ptrdiff_t begin, ptrdiff_t end) {
    (void)begin, (void)end;
    for (ptrdiff_t first = 0; first < it->weight->n_out; first += PANEL) {
        real g[PANEL];
        begin_sums(job, it->weight, first, g);
        FOR_SOME_CHANNELS(job, it, 0, rows, first, smaller(first + PANEL, in->c), g[j - first] = FMA(dy[j], x[j], g[j - first]))
        end_sums(job, it->weight, first, g);
    }
}
