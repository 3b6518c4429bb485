/* The dense layer z = x W + b, y = f(z) and its adjoint, the twin of dense.py.
 * Weights lie in panels (panels.h); a single output has a path of its own.  Of sparse rows x only the entries are
 * multiplied, in the order in which they stand. */

static const real ZEROS[PANEL] __attribute__((aligned(64))) = {0};
static const real ONE = 1;

enum { CHUNK = 24 * VL }; /* numbers of gradient made before an update: L1 holds them and their slots */

/* Numbers of scratch for a layer: a transposed panel, tiles of gradient, a plain weight as one vector. */
static ptrdiff_t scratch_size(ptrdiff_t n_in, ptrdiff_t n_out) {
    ptrdiff_t transposed = PANEL * round_up(n_out, PANEL), tiles = (CHUNK + 12 * PANEL), vector = round_up(n_in, BP_LANES);
    return transposed + tiles + vector;
}

/* The entries that an instruction reads, or NULL: its rows are dense. */
static const bp_entries *entries_of(const bp_job *job, const bp_instruction *it) {
    return it->inputs[0] == 0 ? job->x : 0;
}

/* to[0 .. n] += each number of a list times the row of B that its place names; up to a whole vector it is padding. */
static __attribute__((noinline)) void add_entries(real *to, const bp_entries *x, ptrdiff_t list, const real *B,
                                                  ptrdiff_t ldb, ptrdiff_t n) {
    for (ptrdiff_t e = x->starts[list]; e < x->starts[list + 1]; e++) {
        const real a = ((const real *)x->numbers)[e], *b = B + x->places[e] * ldb;
        ptrdiff_t j = 0;
        for (; j + VL <= n; j += VL) storeu(to + j, VFMA(splat(a), loadu(b + j), loadu(to + j)));
        if (j < n) storeu(to + j, VFMA(splat(a), load_first(b + j, n - j), loadu(to + j)));
    }
}

/* z = x W + b of sparse rows, of n units from `first` on, whose weights begin at w, ldw between two inputs. */
static __attribute__((noinline)) void sparse_product(const bp_job *job, const bp_instruction *it, ptrdiff_t begin,
                                                     ptrdiff_t end, ptrdiff_t first, ptrdiff_t n, const real *w,
                                                     ptrdiff_t ldw, const real *bias) {
    const bp_value *out = job->values + it->output;
    for (ptrdiff_t r = begin; r < end; r++) {
        real *z = row_at(job, out->before, out, r) + first;
        memset(z, 0, (size_t)round_up(n, VL) * sizeof(real)); /* the padding, on which activations work too */
        memcpy(z, bias + first, (size_t)n * sizeof(real));
        add_entries(z, job->x + BP_OF_ROWS, r, w, ldw, n);
        for (ptrdiff_t j = 0; it->fused_relu && j < n; j += VL) storeu(z + j, relu_vec(loadu(z + j)));
    }
}

/* z = x W + b, y = f(z). */
static void dense_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const real *x = row_at(job, in->value, in, part.begin), *bias = array_of(job, it->bias);
    const ptrdiff_t rows = part.end - part.begin, last = smaller(part.last, out->n);
    real *z = row_at(job, out->before, out, part.begin), *weight = array_of(job, it->weight);
    const bp_entries *sparse = entries_of(job, it);
    if (!sparse && out->n == 1)
        for (ptrdiff_t r = 0; r < rows; r++) {
            store(z + r * out->ld, (vec){0}); /* the padding, on which activations work too */
            z[r * out->ld] = bias[0] + lane_dot(x + r * in->ld, weight, in->n);
        }
    else
        for (ptrdiff_t first = part.first; first < last; first += PANEL) {
            panel p = panel_at(weight, in->n, out->n, first);
            if (out->n == 1) p.width = 1;
            if (sparse) sparse_product(job, it, part.begin, part.end, first, p.width, p.begin, p.width, bias);
            else panel_product(rows, (int)(p.width / VL),
                          &(product){.end = it->fused_relu ? BP_RELU : BP_SUM, .K = in->n, .A = x, .a_row = in->ld,
                                    .a_k = 1, .B = p.begin, .ldb = p.width, .C = z + first, .ldc = out->ld,
                                    .init = bias + first});
        }
    activate_part(job, it, part);
}

/* The rows of one panel of W^T: t[n] = W[first .. first + width, n], width numbers, for n < n_out. */
static void transposed_panel(real *t, real *weight, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t first, ptrdiff_t width) {
    for (ptrdiff_t column = 0; column < n_out; column += PANEL) {
        panel p = panel_at(weight, n_in, n_out, column);
        for (ptrdiff_t j = 0; j < p.width; j += VL)
            for (ptrdiff_t k = 0; k < width; k += VL)
                transpose(t + (column + j) * width + k, width, p.begin + (first + k) * p.width + j, p.width);
    }
}

/* dE/dx = delta W^T. */
static void dense_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const real *delta = row_at(job, out->delta, out, part.begin), *y = row_at(job, in->before, in, part.begin);
    real *dx = row_at(job, in->delta, in, part.begin), *weight = array_of(job, it->weight), *t = job->scratch;
    const ptrdiff_t rows = part.end - part.begin, last = smaller(part.last, in->n);
    for (ptrdiff_t first = part.first; first < last; first += PANEL) {
        ptrdiff_t width = smaller(PANEL, round_up(in->n, VL) - first);
        const real *wt = weight + first; /* of a single output: the weight itself */
        if (out->n > 1) {
            transposed_panel(t, weight, in->n, out->n, first, width);
            wt = t;
        }
        panel_product(rows, (int)(width / VL),
                      &(product){.end = it->dx_end, .K = out->n, .A = delta, .a_row = out->ld,
                                .a_k = 1, .B = wt, .ldb = width, .C = dx + first, .ldc = in->ld,
                                .init = it->adds_dx[0] ? dx + first : ZEROS, .ld_init = it->adds_dx[0] ? in->ld : 0,
                                .y = y + first, .ldy = in->ld});
    }
}

/* The gradient of parameters begin .. begin + n in a row: the sum over the batch of a[row] * B[row], where B may be
 * the rows of a sparse x: NULL. */
static void gradient_row(const bp_job *job, const bp_parameter *p, ptrdiff_t rows, const real *a, ptrdiff_t a_row,
                         const real *B, ptrdiff_t begin, ptrdiff_t ldb, ptrdiff_t n) {
    const ptrdiff_t end = begin + n;
    for (ptrdiff_t first = begin; first < end; first += PANEL) {
        ptrdiff_t width = smaller(PANEL, round_up(end - first, VL));
        real *kept = (real *)job->gradient + p->offset + first, *g = job->update ? job->scratch : kept;
        const real *init = job->continues ? kept : ZEROS;
        if (B)
            panel_product(1, (int)(width / VL), &(product){.K = rows, .A = a, .a_k = a_row, .B = B + first, .ldb = ldb,
                                                           .C = g, .init = init});
        else
            for (ptrdiff_t j = 0; j < end - first && j < width; j++) {
                const bp_entries x = job->x[BP_OF_COLUMNS];
                real sum = init[j];
                for (ptrdiff_t e = x.starts[first + j]; e < x.starts[first + j + 1]; e++)
                    sum = FMA(((const real *)x.numbers)[e], a[x.places[e] * a_row], sum);
                g[j] = sum;
            }
        for (ptrdiff_t j = end - first; j < width; j++) g[j] = 0; /* f(0) in the padding of B need not be 0 */
        if (job->update) step(job, p, first, g, width);
    }
}

/* n rows of a panel of dE/dW from row k on, as `sums` says. */
static void weight_gradient(const bp_job *job, const bp_instruction *it, ptrdiff_t k, ptrdiff_t n, product *sums) {
    const bp_entries *sparse = entries_of(job, it);
    if (!sparse) panel_product(n, (int)(sums->ldc / VL), sums);
    else
        for (ptrdiff_t i = 0; i < n; i++) {
            real *g = sums->C + i * sums->ldc;
            memmove(g, sums->init + i * sums->ld_init, (size_t)sums->ldc * sizeof(real));
            add_entries(g, sparse + BP_OF_COLUMNS, k + i, sums->B, sums->ldb, sums->ldc);
        }
}

/* dE/dW = x^T delta, and dE/db of a panel with its first row, over all rows of the block.
 * Row k of panel p is number p n_in + k of the panel rows. */
static void dense_gradient(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const real *x = row_at(job, in->value, in, 0), *delta = row_at(job, out->delta, out, 0);
    real *gradient = (real *)job->gradient + it->weight->offset;
    if (out->n == 1) {
        if (begin > 0) return;
        gradient_row(job, it->bias, rows, &ONE, 0, delta, 0, out->ld, 1);
        gradient_row(job, it->weight, rows, delta, out->ld, entries_of(job, it) ? 0 : x, 0, in->ld, in->n);
        return;
    }
    for (ptrdiff_t above = begin / in->n * in->n; above < end; above += in->n) { /* the rows of the panels before */
        panel p = panel_at(gradient, in->n, out->n, above / in->n * PANEL);
        const ptrdiff_t first = p.first, from = begin > above ? begin - above : 0, to = smaller(end - above, in->n);
        int columns = (int)(p.width / VL);
        if (from == 0) gradient_row(job, it->bias, rows, &ONE, 0, delta, first, out->ld, smaller(p.width, out->n - first));
        product sums = {.K = rows, .a_row = 1, .a_k = in->ld, .B = delta + first, .ldb = out->ld, .ldc = p.width,
                        .init = ZEROS};
        if (!job->update) {
            real *g = p.begin + from * p.width;
            sums.A = x + from, sums.C = g;
            if (job->continues) sums.init = g, sums.ld_init = p.width;
            weight_gradient(job, it, from, to - from, &sums);
            continue;
        }
        ptrdiff_t height = most_rows[columns] * (1 + (CHUNK - 1) / (most_rows[columns] * p.width));
        for (ptrdiff_t k = from; k < to; k += height) {
            ptrdiff_t n = smaller(height, to - k);
            sums.A = x + k, sums.C = job->scratch;
            weight_gradient(job, it, k, n, &sums);
            step(job, it->weight, p.begin + k * p.width - gradient, job->scratch, n * p.width);
        }
    }
}

/* z = x W + b, one row's last n numbers, fewer than a vector, from a weight without padding. */
static vec last_columns(const real *x, const real *w, const real *b, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t n) {
    const ptrdiff_t n_safe = n_in - (VL + n_out - 1) / n_out; /* rows from which a whole vector is within the weight */
    vec z = load_first(b + n_out - n, n);
    w += n_out - n;
    for (ptrdiff_t k = 0; k < n_in; k++, w += n_out)
        z = VFMA(splat(x[k]), k < n_safe ? loadu(w) : load_first(w, n), z);
    return first_of(z, n);
}

/* z = x W + b for few rows, from a weight without padding. */
static void plain_product(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, const real *w, const real *b) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    real *z = row_at(job, out->before, out, 0), *vector = job->scratch;
    const real *x = row_at(job, in->value, in, 0);
    const ptrdiff_t n_in = in->n, n_out = out->n, whole = n_out / VL * VL;
    for (ptrdiff_t first = 0; first < whole; first += PANEL)
        panel_product(rows, (int)(smaller(PANEL, whole - first) / VL),
                      &(product){.K = n_in, .A = x, .a_row = in->ld, .a_k = 1, .B = w + first, .ldb = n_out,
                                .C = z + first, .ldc = out->ld, .init = b + first});
    if (n_out == 1) memcpy(vector, w, (size_t)n_in * sizeof(real)); /* where its padding is readable */
    for (ptrdiff_t r = 0; r < rows && whole < n_out; r++, x += in->ld)
        storeu(z + r * out->ld + whole, n_out == 1 ? first_of(splat(b[0] + lane_dot(x, vector, n_in)), 1)
                                                   : last_columns(x, w, b, n_in, n_out, n_out - whole));
}

/* y = f(x W + b) for few rows, from the weight as the user sees it; the same sums in the same order. */
static void dense_plain(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, const void *weight, const void *bias) {
    const bp_value *out = job->values + it->output;
    real *y = row_at(job, out->value, out, 0), *z = row_at(job, out->before, out, 0);
    if (entries_of(job, it)) sparse_product(job, it, 0, rows, 0, out->n, weight, out->n, bias);
    else plain_product(job, it, rows, weight, bias);
    if (it->activation->forward) it->activation->forward(y, z, rows, out->n, out->ld, it->hyper);
}
