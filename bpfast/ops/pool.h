/* Pooling, the twin of pool.py: every channel of a pixel is the largest, or the mean, of its window.
 * What is outside the image is left out.
 * The adjoint of the largest goes to the first that equals it.  A NaN is larger than all numbers. */

/* The part of a window that is in the image. */
typedef struct {
    ptrdiff_t begin;             /* its first pixel */
    ptrdiff_t h, w, row, pitch;  /* h x w pixels, pitch numbers apart, in rows that are row numbers apart */
    ptrdiff_t c;
} patch;

static patch patch_at(const bp_window *k, const bp_value *image, ptrdiff_t y, ptrdiff_t x) {
    const ptrdiff_t top = y * k->stride_y - k->top, left = x * k->stride_x - k->left, row = image->w * image->pitch;
    const ptrdiff_t first_y = top > 0 ? top : 0, first_x = left > 0 ? left : 0;
    return (patch){first_y * row + first_x * image->pitch, smaller(top + k->height, image->h) - first_y,
                   smaller(left + k->width, image->w) - first_x, row, image->pitch, image->c};
}

/* Channels j .. of a pixel: a whole vector but for data, which have no padding. */
INLINE vec channels(const real *pixel, const patch *p, ptrdiff_t j) { return load_first(pixel + j, p->pitch - j); }

#define FOR_PIXELS(p, at)                                                                                         \
    for (ptrdiff_t y_ = 0; y_ < (p)->h; y_++)                                                                     \
        for (ptrdiff_t x_ = 0, at = (p)->begin + y_ * (p)->row; x_ < (p)->w; x_++, at += (p)->pitch)

INLINE void largest_of_patch(real *y, const real *x, const patch *p) {
    for (ptrdiff_t j = 0; j < p->c; j += VL) {
        vec best = channels(x + p->begin, p, j);
        FOR_PIXELS(p, at) {
            const vec v = channels(x + at, p, j);
            best = choose((ivec)(v > best) | (ivec)(v != v), v, best);
        }
        store(y + j, best);
    }
}

INLINE void to_largest_of_patch(real *dx, const real *dy, const real *x, const real *y, const patch *p) {
    for (ptrdiff_t j = 0; j < p->c; j += VL) {
        const vec best = load(y + j);
        vec rest = load(dy + j); /* what no pixel has taken yet */
        FOR_PIXELS(p, at) {
            const vec v = load(x + at + j);
            const ivec wins = (ivec)(v == best) | (ivec)(v != v);
            store(dx + at + j, load(dx + at + j) + (vec)(wins & (ivec)rest));
            rest = (vec)(~wins & (ivec)rest);
        }
    }
}

INLINE void mean_of_patch(real *y, const real *x, const patch *p) {
    for (ptrdiff_t j = 0; j < p->c; j += VL) {
        vec sum = {0};
        FOR_PIXELS(p, at) sum += channels(x + at, p, j);
        store(y + j, sum / splat((real)(p->h * p->w)));
    }
}

INLINE void to_mean_of_patch(real *dx, const real *dy, const real *x, const real *y, const patch *p) {
    (void)x, (void)y;
    for (ptrdiff_t j = 0; j < p->c; j += VL) {
        const vec share = load(dy + j) / splat((real)(p->h * p->w));
        FOR_PIXELS(p, at) store(dx + at + j, load(dx + at + j) + share);
    }
}

INLINE void pool_forward(const bp_job *job, const bp_instruction *it, bp_part part,
                         void (*pool)(real *, const real *, const patch *)) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    for (ptrdiff_t r = part.begin; r < part.end; r++) {
        real *y = row_at(job, out->value, out, r);
        for (ptrdiff_t i = 0; i < out->h; i++)
            for (ptrdiff_t j = 0; j < out->w; j++, y += out->pitch) {
                const patch p = patch_at(&it->window, in, i, j);
                pool(y, row_at(job, in->value, in, r), &p);
            }
    }
}

INLINE void pool_backward(const bp_job *job, const bp_instruction *it, bp_part part,
                          void (*pass)(real *, const real *, const real *, const real *, const patch *)) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    for (ptrdiff_t r = part.begin; r < part.end; r++) {
        const ptrdiff_t n = in->h * in->w * in->pitch;
        real *dx = row_at(job, in->delta, in, r);
        const real *x = row_at(job, in->value, in, r);
        const real *y = row_at(job, out->value, out, r), *dy = row_at(job, out->delta, out, r);
        if (!it->adds_dx[0]) memset(dx, 0, (size_t)n * sizeof(real));
        for (ptrdiff_t i = 0; i < out->h; i++)
            for (ptrdiff_t j = 0; j < out->w; j++, y += out->pitch, dy += out->pitch) {
                const patch p = patch_at(&it->window, in, i, j);
                pass(dx, dy, x, y, &p);
            }
        for (ptrdiff_t i = 0; it->dx_end == BP_MASKED && i < n; i += VL)
            store(dx + i, where_positive(load(x + i), load(dx + i)));
    }
}

static void max_pool_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    pool_forward(job, it, part, largest_of_patch);
}
static void max_pool_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    pool_backward(job, it, part, to_largest_of_patch);
}
static void avg_pool_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    pool_forward(job, it, part, mean_of_patch);
}
static void avg_pool_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    pool_backward(job, it, part, to_mean_of_patch);
}
