/* The convolution z[y, x] = sum over a window of x K + b, y = f(z), and its adjoint, the twin of conv.py.
 * An image lies as rows of pixels.
 * The kernel is a weight of height width c_in rows, in the order of a window's numbers, and of c_out columns (panels.h).
 * Windows are not copied: a row of one is a run of numbers.  What it has outside the image is left out of its sums, so
 * outputs are cut into regions whose windows have the same part in the image.  Where these would be too small for the
 * tiles, or padding lies between the pixels, the image is copied into a frame of zeros. */

enum {
    BLOCK = 24576 / sizeof(real), /* numbers of a delta that stay in L1 while the kernel's rows pass */
    /* below these an image needs a frame: pixels of a row, channels for products and for a gradient, whose tiles lie
     * across the taps that go together */
    FEW_PIXELS = 6, FEW_CHANNELS = 8, FEW_FOR_GRADIENT = 24
};

/* -- images and regions ------------------------------------------------------------------------- */

/* An image as it stands, or in scratch without numbers between its pixels and with zeros around it. */
typedef struct {
    ptrdiff_t h, w, c, top, left;  /* with the zeros, of which so many are above and on the left */
    ptrdiff_t pixel, row;          /* numbers from pixel to pixel, from row to row */
    int copied;
    const real *begin;
} image;

/* Of a value from which windows of some width take h x w pixels, those above and on the left of it too. */
static image image_of(const bp_value *value, ptrdiff_t few_channels, ptrdiff_t width, ptrdiff_t top, ptrdiff_t left,
                      ptrdiff_t h, ptrdiff_t w) {
    const int is_inside = top == 0 && left == 0 && h <= value->h && w <= value->w;
    const int is_small = value->c < few_channels || value->w < FEW_PIXELS;
    if (width > 1 && (value->pitch != value->c || (is_small && !is_inside)))
        return (image){h, w, value->c, top, left, value->c, w * value->c, 1, 0};
    return (image){value->h, value->w, value->c, 0, 0, value->pitch, value->w * value->pitch, 0, 0};
}

static image image_of_input(const bp_window *k, const bp_value *in, const bp_value *out, ptrdiff_t few_channels) {
    return image_of(in, few_channels, k->width, k->top, k->left, (out->h - 1) * k->stride_y + k->height,
                    (out->w - 1) * k->stride_x + k->width);
}

/* The delta, from which dE/dx is made by the kernel turned: of the outputs that took an input pixel. */
static image image_of_delta(const bp_window *k, const bp_value *in, const bp_value *out) {
    const ptrdiff_t top = (k->height - 1) / k->stride_y, left = (k->width - 1) / k->stride_x;
    return image_of(out, FEW_CHANNELS, left + 1, top, left, top + (in->h - 1 + k->top) / k->stride_y + 1,
                    left + (in->w - 1 + k->left) / k->stride_x + 1);
}

static ptrdiff_t copy_size(const image *a) { return a->copied ? round_up(a->h * a->row, BP_LANES) : 0; }

/* Sets begin: to a row of the value, or to its copy in scratch, which held zeros or another copy. */
static void set_image(image *a, const real *from, const bp_value *value, real *scratch) {
    const ptrdiff_t h = smaller(value->h, a->h - a->top), w = smaller(value->w, a->w - a->left);
    a->begin = a->copied ? scratch : from;
    for (ptrdiff_t y = 0; a->copied && y < h; y++) {
        real *to = scratch + (a->top + y) * a->row + a->left * a->c;
        const real *pixel = from + y * value->w * value->pitch;
        if (value->pitch == a->c) memcpy(to, pixel, (size_t)(w * a->c) * sizeof(real));
        else
            for (ptrdiff_t x = 0; x < w; x++, to += a->c, pixel += value->pitch)
                memcpy(to, pixel, (size_t)a->c * sizeof(real));
    }
}

/* Outputs at .. at + n in one direction, and the taps of their windows that are in the image, first of all at `from`. */
typedef struct {
    ptrdiff_t at, n, tap, taps, from;
} span;

/* The outputs from `at` on, below n_out, that have the same taps of `size`: many where all are in the image, or one. */
static span span_at(ptrdiff_t at, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t size, ptrdiff_t stride, ptrdiff_t before) {
    const ptrdiff_t from = at * stride - before, tap = from < 0 ? smaller(-from, size) : 0;
    const ptrdiff_t end = smaller(size, n_in - from);
    const int whole = tap == 0 && end == size;
    return (span){at, whole ? smaller(n_out, (n_in + before - size) / stride + 1) - at : 1, tap,
                  end > tap ? end - tap : 0, from + tap};
}
static span rows_at(ptrdiff_t at, ptrdiff_t n, const image *a, const bp_window *k) {
    return span_at(at, n, a->h, k->height, k->stride_y, k->top - a->top);
}
static span columns_at(ptrdiff_t at, ptrdiff_t n, const image *a, const bp_window *k) {
    return span_at(at, n, a->w, k->width, k->stride_x, k->left - a->left);
}

/* Where h x w outputs lie: rows of pixels. */
typedef struct {
    ptrdiff_t h, w, row, pixel;
} grid;

/* C = init + the windows of an image times B, `columns` vectors wide; no init: C + that.  C lies as the grid says, and
 * so does y, by which it is masked or scaled. */
static void window_product(int end, const image *a, const bp_window *k, const real *B, int columns, real *C,
                           const grid *g, const real *init, const real *y) {
    const ptrdiff_t width = columns * VL, line = k->width * a->c * width;
    span v, u; /* of rows, of columns */
    for (ptrdiff_t i = 0; i < g->h; i += v.n) {
        v = rows_at(i, g->h, a, k);
        for (ptrdiff_t j = 0; j < g->w; j += u.n) {
            u = columns_at(j, g->w, a, k);
            const real *A = a->begin + v.from * a->row + u.from * a->pixel;
            const real *b = B + v.tap * line + u.tap * a->c * width;
            const int down = v.n > u.n; /* tiles go down columns */
            const ptrdiff_t n = down ? v.n : u.n, a_row = k->stride_y * a->row, a_pixel = k->stride_x * a->pixel;
            const ptrdiff_t a_i = down ? a_row : a_pixel, a_next = down ? a_pixel : a_row;
            const ptrdiff_t c_i = down ? g->row : g->pixel, c_next = down ? g->pixel : g->row;
            ptrdiff_t at = i * g->row + j * g->pixel;
            for (ptrdiff_t rest = down ? u.n : v.n; rest > 0; rest--, A += a_next, at += c_next)
                panel_product(n, columns,
                              &(product){.end = end, .K = u.taps * a->c, .A = A, .a_row = a_i, .a_k = 1, .B = b,
                                        .ldb = width, .more_runs = v.taps - 1, .a_run = a->row, .b_run = line,
                                        .C = C + at, .ldc = c_i, .init = init ? init : C + at,
                                        .ld_init = init ? 0 : c_i, .y = y + at, .ldy = c_i});
        }
    }
}

/* -- forward ------------------------------------------------------------------------------------ */

/* Numbers that a single filter takes as a panel. */
static ptrdiff_t panels_size(ptrdiff_t c_out, ptrdiff_t n_in) { return c_out == 1 ? n_in * VL : 0; }

/* Numbers of scratch: a copy of an image, a single filter as a panel, the turned kernel and what is written behind. */
static ptrdiff_t conv_scratch_size(const bp_window *k, const bp_value *in, const bp_value *out) {
    const image x = image_of_input(k, in, out, FEW_FOR_GRADIENT), delta = image_of_delta(k, in, out);
    const ptrdiff_t copy = copy_size(&x) > copy_size(&delta) ? copy_size(&x) : copy_size(&delta);
    const ptrdiff_t taps = k->height * k->width;
    return copy + panels_size(out->c, taps * in->c) + (taps * out->c + VL) * round_up(in->c, VL);
}

/* The kernel in panels: where it is, or of a single filter in scratch. */
static real *kernel_panels(const bp_job *job, const bp_instruction *it, real *scratch) {
    real *kernel = array_of(job, it->weight);
    if (it->weight->n_out > 1) return kernel;
    for (ptrdiff_t k = 0; k < it->weight->n_in; k++) store(scratch + k * VL, first_of(splat(kernel[k]), 1));
    return scratch;
}

/* z = x * K + b, y = f(z). */
static void conv_forward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const bp_window *k = &it->window;
    const grid g = {out->h, out->w, out->w * out->pitch, out->pitch};
    image x = image_of_input(k, in, out, FEW_CHANNELS);
    real *scratch = job->scratch, *kernel = kernel_panels(job, it, scratch + copy_size(&x));
    const real *bias = it->bias ? array_of(job, it->bias) : 0;
    memset(scratch, 0, (size_t)copy_size(&x) * sizeof(real));
    for (ptrdiff_t r = part.begin; r < part.end; r++) {
        set_image(&x, row_at(job, in->value, in, r), in, scratch);
        real *z = row_at(job, out->before, out, r);
        for (ptrdiff_t first = 0; first < out->c; first += PANEL) {
            panel p = panel_at(kernel, it->weight->n_in, out->c, first);
            window_product(it->fused_relu ? BP_RELU : BP_SUM, &x, k, p.begin, (int)(p.width / VL), z + first, &g,
                           bias ? bias + first : ZEROS, z);
        }
    }
    activate_part(job, it, part);
}

/* -- backward ----------------------------------------------------------------------------------- */

/* Of n, every stride-th from `first` on. */
static ptrdiff_t every(ptrdiff_t stride, ptrdiff_t first, ptrdiff_t n) {
    return first < n ? (n - first - 1) / stride + 1 : 0;
}

/* The columns of one tap's rows of the kernel, turned: t[j] = K[row .. row + rows, j], width numbers, for j < c_out.
 * Writes up to VL - 1 rows more. */
static void turned_tap(real *t, real *kernel, ptrdiff_t n_in, ptrdiff_t c_out, ptrdiff_t row, ptrdiff_t rows,
                       ptrdiff_t width) {
    for (ptrdiff_t column = 0; column < c_out; column += VL, t += VL * width) {
        panel p = panel_at(kernel, n_in, c_out, column / PANEL * PANEL);
        const real *from = p.begin + row * p.width + column - p.first;
        ptrdiff_t i = 0;
        for (; i + VL <= rows; i += VL) transpose(t + i, width, from + i * p.width, p.width);
        for (; i < rows; i++)
            for (ptrdiff_t j = 0; j < VL; j++) t[j * width + i] = from[i * p.width + j];
    }
}

/* Every stride-th pixel of an input from (y, x) on is reached by the same taps: with its delta as the image and these
 * taps in turned order as the window, dE/dx is a convolution with stride 1. */
typedef struct {
    ptrdiff_t tap_y, tap_x; /* the first of these taps */
    bp_window window;
} phase;

static phase phase_at(const bp_window *k, ptrdiff_t y, ptrdiff_t x) {
    const ptrdiff_t tap_y = (y + k->top) % k->stride_y, tap_x = (x + k->left) % k->stride_x;
    const ptrdiff_t n_y = every(k->stride_y, tap_y, k->height), n_x = every(k->stride_x, tap_x, k->width);
    const ptrdiff_t top = n_y - 1 - (y + k->top) / k->stride_y, left = n_x - 1 - (x + k->left) / k->stride_x;
    return (phase){tap_y, tap_x, {n_y, n_x, 1, 1, top, left}};
}

/* The kernel of a phase, for each panel of input channels; -> its end. */
static real *turned_kernel(real *t, const bp_window *k, const phase *p, real *kernel, ptrdiff_t c_in, ptrdiff_t c_out) {
    for (ptrdiff_t first = 0; first < c_in; first += PANEL) {
        const ptrdiff_t width = smaller(PANEL, round_up(c_in, VL) - first);
        for (ptrdiff_t j = p->window.height - 1; j >= 0; j--)
            for (ptrdiff_t i = p->window.width - 1; i >= 0; i--, t += c_out * width) {
                const ptrdiff_t tap = (p->tap_y + j * k->stride_y) * k->width + p->tap_x + i * k->stride_x;
                turned_tap(t, kernel, k->height * k->width * c_in, c_out, tap * c_in + first,
                           smaller(width, c_in - first), width);
            }
    }
    return t;
}

/* dE/dx, phase by phase. */
static void conv_backward(const bp_job *job, const bp_instruction *it, bp_part part) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const bp_window *k = &it->window;
    image delta = image_of_delta(k, in, out);
    real *scratch = job->scratch, *kernel = kernel_panels(job, it, scratch + copy_size(&delta));
    real *turned = scratch + copy_size(&delta) + panels_size(out->c, it->weight->n_in), *end = turned;
    for (ptrdiff_t y = 0; y < k->stride_y; y++)
        for (ptrdiff_t x = 0; x < k->stride_x; x++) {
            const phase p = phase_at(k, y, x);
            end = turned_kernel(end, k, &p, kernel, in->c, out->c);
        }
    memset(scratch, 0, (size_t)copy_size(&delta) * sizeof(real));
    for (ptrdiff_t r = part.begin; r < part.end; r++) {
        set_image(&delta, row_at(job, out->delta, out, r), out, scratch);
        const real *t = turned;
        for (ptrdiff_t y = 0; y < k->stride_y; y++)
            for (ptrdiff_t x = 0; x < k->stride_x; x++) {
                const phase p = phase_at(k, y, x);
                const grid g = {every(k->stride_y, y, in->h), every(k->stride_x, x, in->w),
                                k->stride_y * in->w * in->pitch, k->stride_x * in->pitch};
                const ptrdiff_t at = (y * in->w + x) * in->pitch;
                for (ptrdiff_t first = 0; first < in->c; first += PANEL) {
                    const ptrdiff_t width = smaller(PANEL, round_up(in->c, VL) - first);
                    window_product(it->dx_end, &delta, &p.window, t, (int)(width / VL),
                                   row_at(job, in->delta, in, r) + at + first, &g, it->adds_dx[0] ? 0 : ZEROS,
                                   row_at(job, in->before, in, r) + at + first);
                    t += p.window.height * p.window.width * out->c * width;
                }
            }
    }
}

/* -- gradient ----------------------------------------------------------------------------------- */

/* The rows of a panel that begin .. end are, of the panels' rows one after the other. */
typedef struct {
    ptrdiff_t from, to;
} panel_rows;

static panel_rows rows_of_panel(ptrdiff_t first, ptrdiff_t n_in, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t above = first / PANEL * n_in; /* rows of the panels before */
    return (panel_rows){begin > above ? begin - above : 0, smaller(end - above, n_in)};
}

/* The outputs that have a tap in the image, in one direction. */
typedef struct {
    ptrdiff_t begin, end;
} range;

static range outputs_of(ptrdiff_t tap, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t stride, ptrdiff_t before) {
    const ptrdiff_t begin = tap < before ? (before - tap + stride - 1) / stride : 0, last = n_in - 1 + before - tap;
    return (range){begin, last < 0 ? 0 : smaller(n_out, last / stride + 1)};
}

/* Adds to rows of a panel of dE/dK what outputs v of rows and u of columns give to `taps` of row y from x on. */
static void add_taps(panel p, panel_rows part, const image *a, const bp_window *k, ptrdiff_t y, ptrdiff_t x,
                     ptrdiff_t taps, range v, range u, const real *delta, const bp_value *out) {
    const ptrdiff_t above = (y * k->width + x) * a->c, d_row = out->w * out->pitch;
    const ptrdiff_t from = part.from > above ? part.from - above : 0, to = smaller(part.to - above, taps * a->c);
    const real *A = a->begin + (v.begin * k->stride_y + y - k->top + a->top) * a->row +
                    (u.begin * k->stride_x + x - k->left + a->left) * a->pixel;
    real *g = p.begin + (above + from) * p.width;
    if (from < to && v.begin < v.end && u.begin < u.end)
        panel_product(to - from, (int)(p.width / VL),
                      &(product){.K = u.end - u.begin, .A = A + from, .a_row = 1, .a_k = k->stride_x * a->pixel,
                                .B = delta + v.begin * d_row + u.begin * out->pitch + p.first, .ldb = out->pitch,
                                .more_runs = v.end - v.begin - 1, .a_run = k->stride_y * a->row, .b_run = d_row,
                                .C = g, .ldc = p.width, .init = g, .ld_init = p.width});
}

/* The same for all outputs and taps; taps side by side that have the same outputs go together.
 * Some of the delta's rows of pixels stay in L1 while all of the kernel's rows pass. */
static void add_gradient(panel p, panel_rows part, const image *a, const bp_window *k, const real *delta,
                         const bp_value *out) {
    const ptrdiff_t height = BLOCK / (out->w * p.width) + 1;
    for (ptrdiff_t i = 0; i < out->h; i += height)
        for (ptrdiff_t y = 0; y < k->height; y++) {
            range v = outputs_of(y, out->h, a->h, k->stride_y, k->top - a->top);
            v = (range){v.begin > i ? v.begin : i, smaller(v.end, i + height)};
            for (ptrdiff_t x = 0, end = 0; x < k->width; x = end) {
                const range u = outputs_of(x, out->w, a->w, k->stride_x, k->left - a->left);
                for (range next = u; end < k->width && next.begin == u.begin && next.end == u.end;)
                    next = outputs_of(++end, out->w, a->w, k->stride_x, k->left - a->left);
                add_taps(p, part, a, k, y, x, end - x, v, u, delta, out);
            }
        }
}

/* dE/dK, and dE/db of a panel with its first row, over all rows of the block. */
static void conv_gradient(const bp_job *job, const bp_instruction *it, ptrdiff_t rows, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *in = job->values + it->inputs[0], *out = job->values + it->output;
    const bp_window *k = &it->window;
    const ptrdiff_t n_in = it->weight->n_in, c_out = out->c;
    const ptrdiff_t from = begin / n_in * PANEL, to = (end - 1) / n_in * PANEL + 1; /* panels by their columns */
    image x = image_of_input(k, in, out, FEW_FOR_GRADIENT);
    real *scratch = job->scratch, *kept = (real *)job->gradient + it->weight->offset;
    real *bias = it->bias ? (real *)job->gradient + it->bias->offset : 0;
    real *g = c_out == 1 ? scratch + copy_size(&x) : kept;
    if (c_out == 1 && begin > 0) return;
    for (ptrdiff_t i = 0; c_out == 1 && i < n_in; i++) store(g + i * VL, first_of(splat(kept[i]), 1));
    for (ptrdiff_t first = from; first < to && !job->continues; first += PANEL) {
        const panel p = panel_at(g, n_in, c_out, first);
        const panel_rows part = rows_of_panel(first, n_in, begin, end);
        memset(p.begin + part.from * p.width, 0, (size_t)((part.to - part.from) * p.width) * sizeof(real));
        if (part.from == 0 && bias) memset(bias + first, 0, (size_t)p.width * sizeof(real));
    }
    memset(scratch, 0, (size_t)copy_size(&x) * sizeof(real));
    for (ptrdiff_t r = 0; r < rows; r++) {
        set_image(&x, row_at(job, in->value, in, r), in, scratch);
        const real *delta = row_at(job, out->delta, out, r);
        for (ptrdiff_t first = from; first < to; first += PANEL) {
            const panel p = panel_at(g, n_in, c_out, first);
            const panel_rows part = rows_of_panel(first, n_in, begin, end);
            add_gradient(p, part, &x, k, delta, out);
            if (part.from == 0 && bias)
                panel_product(1, (int)(p.width / VL),
                              &(product){.K = out->h * out->w, .A = &ONE, .B = delta + first, .ldb = out->pitch,
                                        .C = bias + first, .init = bias + first});
        }
    }
    for (ptrdiff_t first = from; first < to; first += PANEL) {
        const panel p = panel_at(g, n_in, c_out, first);
        const panel_rows part = rows_of_panel(first, n_in, begin, end);
        const ptrdiff_t tail = p.width - VL, n = c_out - first - tail, size = (part.to - part.from) * p.width;
        real *made = p.begin + part.from * p.width;
        for (ptrdiff_t i = tail; n < VL && i < size; i += p.width) store(made + i, first_of(load(made + i), n));
        if (part.from == 0 && bias) {
            store(bias + first + tail, first_of(load(bias + first + tail), n));
            if (job->update) step(job, it->bias, first, bias + first, p.width);
        }
        const real *number = g;
        for (ptrdiff_t i = 0; c_out == 1 && i < n_in; i++, number += VL) {
            UNRELATED(number); /* vectors of such numbers take much code */
            kept[i] = *number;
        }
        if (job->update)
            step(job, it->weight, made - g, c_out == 1 ? kept : made, c_out == 1 ? round_up(n_in, BP_LANES) : size);
    }
}
