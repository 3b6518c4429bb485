# -- single kernels, for tests and benchmarks ----------------------------------------------------------


cdef class PaddedRows:
    """A vector (n,), or rows (batch, n), padded as in a workspace; copied only where they are not."""

    cdef object shape, padded
    cdef Py_ssize_t n_rows, n, ld
    cdef void *data

    def __cinit__(self, array, dtype):
        array = np.ascontiguousarray(array, dtype)
        self.shape = array.shape
        self.n_rows, self.n = array.shape if array.ndim == 2 else (1, array.size)
        self.ld = whole_lanes(max(self.n, 1))
        if self.n < self.ld:
            array = np.pad(array.reshape(self.n_rows, self.n), ((0, 0), (0, self.ld - self.n)))
        self.padded, self.data = array, address(array)

    cdef unpadded(self, results):
        """What kernels made of these rows, in the shape that they had."""
        return results if self.n == self.ld else results[:, :self.n].reshape(self.shape)


cdef class Kernels:
    """The kernels of one dtype on arrays, at a CPU level or the one in use."""

    cdef const bp_kernels *kernels
    cdef object dtype

    def __cinit__(self, dtype, str level=None):
        self.dtype = np.dtype(dtype)
        self.kernels = find_kernels(level or cpu_level(), self.dtype.itemsize)

    def activations(self):
        """The names in the table, in order."""
        return row_names(self.kernels.activations, sizeof(bp_activation))

    def losses(self):
        """The names in the table, in order."""
        return row_names(self.kernels.losses, sizeof(bp_loss))

    def updates(self):
        """The names in the table, in order."""
        return row_names(self.kernels.updates, sizeof(bp_update))

    def activation_forward(self, op, x):
        """y = f(x) for x (n,) or rows (batch, n)."""
        cdef const bp_activation *activation = find_activation(self.kernels, op)
        if activation.forward == NULL:
            return np.asarray(x, self.dtype)
        cdef PaddedRows px = PaddedRows(x, self.dtype)
        y = np.empty_like(px.padded)
        cdef double hyper[BP_MAX_HYPER]
        copy_hyper(hyper, op)
        activation.forward(address(y), px.data, px.n_rows, px.n, px.ld, hyper)
        return px.unpadded(y)

    def activation_adjoint(self, op, dy, x, y):
        """dx = g(dy, x, y), shapes as above."""
        cdef const bp_activation *activation = find_activation(self.kernels, op)
        if activation.adjoint == NULL:
            return np.asarray(dy, self.dtype)
        cdef PaddedRows px = PaddedRows(np.array(x, self.dtype), self.dtype), py = PaddedRows(y, self.dtype)
        cdef PaddedRows pdy = PaddedRows(dy, self.dtype)
        dx = np.empty_like(pdy.padded)
        cdef double hyper[BP_MAX_HYPER]
        copy_hyper(hyper, op)
        if activation.forward_slope != NULL:
            activation.forward_slope(address(dx), px.data, px.data, px.n_rows, px.n, px.ld, hyper)
        activation.adjoint(address(dx), pdy.data, px.data, py.data, pdy.n_rows, pdy.n, pdy.ld, hyper)
        return pdy.unpadded(dx)

    def loss(self, op, y, t, mean):
        """-> (values (batch,) float64, dy = mean * dvalue/dy) for outputs y (batch, n)."""
        cdef PaddedRows py = PaddedRows(y, self.dtype)
        targets = np.ascontiguousarray(t, np.int64) if op.labels else (<PaddedRows>PaddedRows(t, self.dtype)).padded
        values, dy, mean = np.empty(py.n_rows), np.empty_like(py.padded), np.ascontiguousarray(mean, np.float64)
        cdef double hyper[BP_MAX_HYPER]
        copy_hyper(hyper, op)
        if py.n_rows:
            find_loss(self.kernels, op).run(
                <double *>address(values), address(dy), py.data, address(targets), <double *>address(mean),
                py.n_rows, py.n, py.ld, hyper)
        return values, py.unpadded(dy)

    def update(self, op, g, w, slots, coefficients):
        """-> (w, *slots) after a step with these scalars."""
        changed = [PaddedRows(np.array(array, self.dtype, order="C"), self.dtype) for array in (w, *slots)]
        cdef PaddedRows pg = PaddedRows(g, self.dtype), slot
        cdef double reals[BP_MAX_COEFFICIENTS]
        cdef void *pointers[BP_MAX_SLOTS]
        cdef int s
        self.copy_coefficients(reals, coefficients)
        for s in range(len(slots)):
            slot = changed[1 + s]
            pointers[s] = slot.data
        find_update(self.kernels, op).run((<PaddedRows>changed[0]).data, pointers, pg.data, pg.n_rows * pg.ld, reals)
        return tuple([(<PaddedRows>array).unpadded((<PaddedRows>array).padded) for array in changed])

    def moves_zeros(self, op, coefficients):
        """Whether steps with these scalars change a zero parameter of zero gradient."""
        cdef double reals[BP_MAX_COEFFICIENTS]
        self.copy_coefficients(reals, coefficients)
        return bool(moves_zeros(find_update(self.kernels, op), reals))

    cdef int copy_coefficients(self, double *reals, coefficients) except -1:
        """The scalars of a step, as kernels take them."""
        scalars = np.ascontiguousarray(coefficients, np.float64)
        check_coefficients(len(scalars))
        self.kernels.convert(reals, <const double *>address(scalars), len(scalars))
        return 0
