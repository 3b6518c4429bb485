/* Where instructions find their numbers, and activations done on the way. */

INLINE real *row_at(const bp_job *job, ptrdiff_t offset, const bp_value *value, ptrdiff_t row) {
    return (real *)job->work + offset + row * value->ld;
}

static real *array_of(const bp_job *job, const bp_parameter *p) { return (real *)job->parameters + p->offset; }

/* y = f(z) for units first .. last of some rows. */
static void activate(const bp_instruction *it, const bp_value *out, real *y, const real *z, ptrdiff_t rows, ptrdiff_t first,
                     ptrdiff_t last) {
    if (!it->activation->forward || it->fused_relu) return;
    if (first == 0 && last == out->n) it->activation->forward(y, z, rows, out->n, out->ld, it->hyper);
    else
        for (ptrdiff_t at = first; rows > 0; rows--, at += out->ld) /* row by row: the units between are other threads' */
            it->activation->forward(y + at, z + at, 1, last - first, out->ld, it->hyper);
}

/* The same for whole rows of an output, whose z has been made. */
static void activate_rows(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *out = job->values + it->output;
    activate(it, out, row_at(job, out->value, out, part.begin), row_at(job, out->before, out, part.begin),
             part.end - part.begin, 0, out->n);
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
