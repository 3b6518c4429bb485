/* How parameters lie in a State, for dense.h and regularization.h.
 *
 * A weight lies in panels of PANEL columns, the last one as narrow as the columns need:
 * panel p holds W[:, p * PANEL ..] as rows k = 0 .. n_in of `width` numbers, then rows of zeros up to
 * round_up(n_in, VL).  Forward, gradient and update all stream it.  A single output (n_out = 1) keeps
 * its weight as one vector, and sums over k in 16 lanes.  A bias is a vector. */

typedef struct {
    ptrdiff_t first; /* column */
    ptrdiff_t width; /* numbers in a row */
    real *begin;     /* row 0 */
} panel;

static panel panel_at(real *weight, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t first) {
    ptrdiff_t width = smaller(PANEL, round_up(n_out, VL) - first);
    return (panel){first, width, weight + first * round_up(n_in, VL)};
}

static ptrdiff_t weight_size(ptrdiff_t n_in, ptrdiff_t n_out) {
    return n_out == 1 ? round_up(n_in, BP_LANES) : round_up(n_in, VL) * round_up(n_out, VL);
}

static void pack(void *panels, const void *weight, ptrdiff_t n_in, ptrdiff_t n_out) {
    const real *w = weight;
    if (n_out == 1) {
        memcpy(panels, w, (size_t)n_in * sizeof(real));
        return;
    }
    for (ptrdiff_t first = 0; first < n_out; first += PANEL) {
        panel p = panel_at(panels, n_in, n_out, first);
        for (ptrdiff_t k = 0; k < n_in; k++)
            memcpy(p.begin + k * p.width, w + k * n_out + first,
                   (size_t)smaller(p.width, n_out - first) * sizeof(real));
    }
}

static void unpack(void *weight, const void *panels, ptrdiff_t n_in, ptrdiff_t n_out) {
    real *w = weight;
    if (n_out == 1) {
        memcpy(w, panels, (size_t)n_in * sizeof(real));
        return;
    }
    for (ptrdiff_t first = 0; first < n_out; first += PANEL) {
        panel p = panel_at((real *)panels, n_in, n_out, first);
        for (ptrdiff_t k = 0; k < n_in; k++)
            memcpy(w + k * n_out + first, p.begin + k * p.width,
                   (size_t)smaller(p.width, n_out - first) * sizeof(real));
    }
}

/* A parameter as strips of at most PANEL whole columns: the panels of a weight, the parts of a bias. */
typedef struct {
    real *begin;
    ptrdiff_t rows, width;
} strip;

static ptrdiff_t n_strips(const bp_parameter *p) { return (p->n_out + PANEL - 1) / PANEL; }

static strip strip_at(real *arena, const bp_parameter *p, ptrdiff_t i) {
    real *begin = arena + p->offset;
    if (p->n_in == 0) return (strip){begin + i * PANEL, 1, smaller(PANEL, p->n_out - i * PANEL)};
    if (p->n_out == 1) return (strip){begin, p->n_in, 1};
    panel q = panel_at(begin, p->n_in, p->n_out, i * PANEL);
    return (strip){q.begin, p->n_in, q.width};
}
