/* Restraints on parameters, the twin of regularization.py.  Padding holds zeros, and keeps them.
 * Sums of squares are taken in double, down each column and then across: the same bits on every level. */

#define NO_LIMIT __builtin_inf()

/* g += l1 sign(w) + (l2 + l2_of_sum / weight_sum) w. */
static void add_penalty(real *g, const real *w, ptrdiff_t n, const bp_parameter *p, double weight_sum) {
    const real l1 = (real)p->l1, l2 = (real)(p->l2 + p->l2_of_sum / weight_sum);
    if (l1 == 0 && l2 == 0) return;
    INDEPENDENT for (ptrdiff_t i = 0; i < n; i++) g[i] = FMA(l2, w[i], FMA(l1, bp_sign(w[i]), g[i]));
}

/* w -= rate decay w. */
static void decay(real *w, ptrdiff_t n, const bp_parameter *p, double rate) {
    const real kept = (real)(1 - rate * p->decay);
    if (p->decay == 0) return;
    INDEPENDENT for (ptrdiff_t i = 0; i < n; i++) w[i] *= kept;
}

/* Every number of g brought into [-limit, limit]. */
static void clip_value(real *g, ptrdiff_t n, double limit) {
    const real most = (real)limit;
    if (limit == NO_LIMIT) return;
    INDEPENDENT for (ptrdiff_t i = 0; i < n; i++) g[i] = bp_clamp(g[i], -most, most);
}

/* The squares of every column of a strip, added up. */
static void column_squares(double sums[PANEL], strip s) {
    for (ptrdiff_t j = 0; j < s.width; j++) sums[j] = 0;
    for (ptrdiff_t k = 0; k < s.rows; k++)
        for (ptrdiff_t j = 0; j < s.width; j++) {
            double x = (double)s.begin[k * s.width + j];
            sums[j] += x * x;
        }
}

static double sum_of_squares(real *arena, const bp_parameter *p) {
    double sums[PANEL], sum = 0;
    for (ptrdiff_t i = 0; i < n_strips(p); i++) {
        strip s = strip_at(arena, p, i);
        column_squares(sums, s);
        for (ptrdiff_t j = 0; j < s.width; j++) sum += sums[j];
    }
    return sum;
}

static void scale_to_norm(real *g, ptrdiff_t n, double squares, double limit) {
    double norm = __builtin_sqrt(squares);
    const real factor = (real)(limit / norm);
    if (norm > limit)
        INDEPENDENT for (ptrdiff_t i = 0; i < n; i++) g[i] *= factor;
}

/* The units of a weight whose norm exceeds max_norm, scaled to it. */
static void limit_columns(real *arena, const bp_parameter *p) {
    double sums[PANEL];
    for (ptrdiff_t i = 0; p->max_norm < NO_LIMIT && i < n_strips(p); i++) {
        strip s = strip_at(arena, p, i);
        real factors[PANEL];
        column_squares(sums, s);
        for (ptrdiff_t j = 0; j < s.width; j++) {
            double norm = __builtin_sqrt(sums[j]);
            factors[j] = (real)(norm > p->max_norm ? p->max_norm / norm : 1);
        }
        for (ptrdiff_t k = 0; k < s.rows; k++)
            for (ptrdiff_t j = 0; j < s.width; j++) s.begin[k * s.width + j] *= factors[j];
    }
}

/* The optimizer's rule, after decay, for n numbers of a parameter from number `first` on. */
static void apply(const bp_job *job, const bp_parameter *p, ptrdiff_t first, const real *g, ptrdiff_t n) {
    ptrdiff_t offset = p->offset + first;
    real *w = (real *)job->parameters + offset;
    void *slots[BP_MAX_SLOTS];
    for (int s = 0; s < job->update->n_slots; s++) slots[s] = (real *)job->slots[s] + offset;
    decay(w, n, p, job->rate);
    job->update->run(w, slots, g, n, job->coefficients);
}

/* A step of n numbers whose gradient has just been made, and is kept nowhere. */
static __attribute__((noinline)) void step(const bp_job *job, const bp_parameter *p, ptrdiff_t first, real *g,
                                           ptrdiff_t n) {
    add_penalty(g, (real *)job->parameters + p->offset + first, n, p, job->weight_sum);
    clip_value(g, n, job->clip.value);
    apply(job, p, first, g, n);
}

/* sums: what l1 and l2 add to the mean loss of a batch, and what l2_of_sum adds to its sum.  OUT */
static void penalties(double sums[2], const bp_job *job) {
    sums[0] = sums[1] = 0;
    for (int i = 0; i < job->n_parameters; i++) {
        const bp_parameter *p = job->layout + i;
        const real *w = (const real *)job->parameters + p->offset;
        double squares = 0, absolute = 0;
        if (p->l2 != 0 || p->l2_of_sum != 0) squares = sum_of_squares(job->parameters, p);
        if (p->l1 != 0) for (ptrdiff_t k = 0; k < p->size; k++) absolute += (double)bp_abs(w[k]);
        sums[0] += p->l1 * absolute + p->l2 / 2 * squares;
        sums[1] += p->l2_of_sum / 2 * squares;
    }
}

/* Completes a gradient that is kept. */
static void add_penalties(const bp_job *job) {
    for (int i = 0; i < job->n_parameters; i++) {
        const bp_parameter *p = job->layout + i;
        add_penalty((real *)job->gradient + p->offset, (real *)job->parameters + p->offset, p->size, p, job->weight_sum);
    }
}

/* A step of all parameters by a gradient that is kept and complete. */
static void step_all(const bp_job *job) {
    double squares = 0;
    for (int i = 0; i < job->n_parameters; i++) {
        const bp_parameter *p = job->layout + i;
        real *g = (real *)job->gradient + p->offset;
        clip_value(g, p->size, job->clip.value);
        if (job->clip.norm < NO_LIMIT) scale_to_norm(g, p->size, sum_of_squares(job->gradient, p), job->clip.norm);
        if (job->clip.global_norm < NO_LIMIT) squares += sum_of_squares(job->gradient, p);
    }
    for (int i = 0; i < job->n_parameters; i++) {
        const bp_parameter *p = job->layout + i;
        real *g = (real *)job->gradient + p->offset;
        scale_to_norm(g, p->size, squares, job->clip.global_norm);
        apply(job, p, 0, g, p->size);
    }
}

/* What holds of weights after every step. */
static void limit_norms(const bp_job *job) {
    for (int i = 0; i < job->n_parameters; i++) limit_columns(job->parameters, job->layout + i);
}

/* Zero the padding of a parameter or slot: behind a vector, or the columns and rows that fill a weight's panels. */
static void clear_padding(real *array, const bp_parameter *p) {
    const ptrdiff_t n_in = p->n_in, n_out = p->n_out;
    if (n_in == 0 || n_out == 1) {
        for (ptrdiff_t i = n_in > 0 ? n_in : n_out; i < p->size; i++) array[i] = 0;
        return;
    }
    for (ptrdiff_t first = 0; first < n_out; first += PANEL) {
        panel q = panel_at(array, n_in, n_out, first);
        for (ptrdiff_t k = 0; k < n_in && n_out - first < q.width; k++)
            for (ptrdiff_t j = n_out - first; j < q.width; j++) q.begin[k * q.width + j] = 0;
        memset(q.begin + n_in * q.width, 0, (size_t)((round_up(n_in, VL) - n_in) * q.width) * sizeof(real));
    }
}

/* After an update that does not leave zeros alone: of all parameters and slots. */
static void clean(const bp_job *job) {
    for (int i = 0; i < job->n_parameters; i++)
        for (int s = -1; s < job->n_slots; s++)
            clear_padding((real *)(s < 0 ? job->parameters : job->slots[s]) + job->layout[i].offset, job->layout + i);
}
