/* Where instructions find their numbers, and activations done on the way. */

INLINE real *row_at(const bp_job *job, ptrdiff_t offset, const bp_value *value, ptrdiff_t row) {
    return (real *)job->work + offset + row * value->ld;
}

static real *array_of(const bp_job *job, const bp_parameter *p) { return (real *)job->parameters + p->offset; }

/* y = f(z), and in training where the adjoint wants slopes f'(z), which may take the place of z. */
static void activate(const bp_job *job, const bp_instruction *it, real *y, real *slope, const real *z, ptrdiff_t rows,
                     ptrdiff_t n, ptrdiff_t ld) {
    const bp_activation *f = it->activation;
    if (job->trains && f->forward_slope) f->forward_slope(y, slope, z, rows, n, ld, it->hyper);
    else f->forward(y, z, rows, n, ld, it->hyper);
}

/* The same for a part of an output, whose z has been made. */
static void activate_part(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *out = job->values + it->output;
    real *y = row_at(job, out->value, out, part.begin), *z = row_at(job, out->before, out, part.begin);
    const ptrdiff_t rows = part.end - part.begin, last = smaller(part.last, out->n);
    if (!it->activation->forward || it->fused_relu) return;
    if (part.first == 0 && last == out->n) activate(job, it, y, z, z, rows, out->n, out->ld);
    else
        for (ptrdiff_t r = 0, at = part.first; r < rows; r++, at += out->ld) /* row by row: others' units lie between */
            activate(job, it, y + at, z + at, z + at, 1, last - part.first, out->ld);
}

/* delta = f'(z) * dE/dy in place, for whole rows. */
static void activated_adjoint(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *out = job->values + it->output;
    real *delta = row_at(job, out->delta, out, part.begin);
    it->activation->adjoint(delta, delta, row_at(job, out->before, out, part.begin), row_at(job, out->value, out, part.begin),
                            part.end - part.begin, out->n, out->ld, it->hyper);
}

/* not_below(z, floor) is relu(z) where that is fused, else z. */
static real floor_of(const bp_instruction *it) { return it->fused_relu ? 0 : -(real)__builtin_inf(); }
INLINE real not_below(real z, real floor) { return z < floor ? floor : z; }
