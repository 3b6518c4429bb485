/* A block of sparse rows: its entries, by row and by column, or what they make in dense rows. */
#pragma once
#include <string.h>
#include "plan.h"

/* The bytes of a block's entries, at most so many, and where they lie there. */
static ptrdiff_t bp_size_of_entries(const bp_kernels *kernels, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t most) {
    return (rows + columns + 2) * (ptrdiff_t)sizeof(ptrdiff_t) +
           2 * most * (kernels->real_size + (ptrdiff_t)sizeof(int32_t));
}
static void bp_place_entries(bp_entries x[2], const bp_kernels *kernels, char *memory, ptrdiff_t rows, ptrdiff_t columns,
                             ptrdiff_t most) {
    bp_entries *of_rows = x + BP_OF_ROWS, *of_columns = x + BP_OF_COLUMNS;
    of_rows->starts = (ptrdiff_t *)memory, of_columns->starts = of_rows->starts + rows + 1;
    of_rows->numbers = of_columns->starts + columns + 1;
    of_columns->numbers = (char *)of_rows->numbers + most * kernels->real_size;
    of_rows->places = (int32_t *)((char *)of_columns->numbers + most * kernels->real_size);
    of_columns->places = of_rows->places + most;
}

static ptrdiff_t bp_column_of(const bp_table *X, ptrdiff_t entry) {
    return X->has_wide_columns ? (ptrdiff_t)((const int64_t *)X->columns)[entry] : ((const int32_t *)X->columns)[entry];
}

/* n numbers of the table from an entry on, as reals. */
static void bp_gather_numbers(const bp_kernels *kernels, void *to, const bp_table *X, ptrdiff_t entry, ptrdiff_t n) {
    bp_table from = *X;
    from.data += entry * X->column_stride;
    from.is_flat = 0; /* no whole vectors */
    kernels->gather(to, 0, n, &from, 0, 0, 1);
}

/* Row i of the table as n reals. */
static void bp_gather_sparse(const bp_kernels *kernels, void *row, ptrdiff_t n, const bp_table *X, ptrdiff_t i) {
    memset(row, 0, (size_t)(n * kernels->real_size));
    for (ptrdiff_t e = X->starts[i]; e < X->starts[i + 1]; e++) {
        union { float single; double whole; } number;
        bp_gather_numbers(kernels, &number, X, e, 1);
        if (kernels->real_size == sizeof(float)) ((float *)row)[bp_column_of(X, e)] += number.single;
        else ((double *)row)[bp_column_of(X, e)] += number.whole;
    }
}

/* The entries of rows order[begin .. end] of the table, or of rows begin .. end where there is no order. */
static void bp_gather_entries(const bp_kernels *kernels, const bp_entries *of_rows, const bp_table *X,
                              const ptrdiff_t *order, ptrdiff_t begin, ptrdiff_t end) {
    ptrdiff_t to = 0;
    for (ptrdiff_t i = begin; i < end; i++) {
        const ptrdiff_t *starts = X->starts + (order ? order[i] : i);
        of_rows->starts[i - begin] = to;
        bp_gather_numbers(kernels, (char *)of_rows->numbers + to * kernels->real_size, X, starts[0], starts[1] - starts[0]);
        for (ptrdiff_t e = starts[0]; e < starts[1]; e++) of_rows->places[to++] = (int32_t)bp_column_of(X, e);
    }
    of_rows->starts[end - begin] = to;
}

/* The entries of the columns of a block, rows in order: a counting sort, whose starts are at first the ends. */
static void bp_transpose_entries(const bp_kernels *kernels, const bp_entries *x, ptrdiff_t rows, ptrdiff_t columns) {
    const bp_entries from = x[BP_OF_ROWS], to = x[BP_OF_COLUMNS];
    memset(to.starts, 0, (size_t)(columns + 1) * sizeof(ptrdiff_t));
    for (ptrdiff_t e = 0; e < from.starts[rows]; e++) to.starts[from.places[e]]++;
    for (ptrdiff_t k = 0; k < columns; k++) to.starts[k + 1] += to.starts[k];
    for (ptrdiff_t r = rows - 1; r >= 0; r--)
        for (ptrdiff_t e = from.starts[r + 1] - 1; e >= from.starts[r]; e--) {
            const ptrdiff_t at = --to.starts[from.places[e]];
            to.places[at] = (int32_t)r;
            if (kernels->real_size == sizeof(float)) ((float *)to.numbers)[at] = ((const float *)from.numbers)[e];
            else ((double *)to.numbers)[at] = ((const double *)from.numbers)[e];
        }
}
