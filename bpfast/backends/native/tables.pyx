# cython: language_level=3
"""The kernels of every CPU level: which there are, which this processor runs, and each alone, on arrays."""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from .plan cimport *

import numpy as np

from ... import config

cdef extern from "levels.h" nogil:
    int bp_runs(const char *)
    const bp_kernels **bp_all_kernels

TYPES = {np.dtype(name): code for code, name in
         enumerate(["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])}
TYPES[np.dtype(bool)] = TYPES[np.dtype("u1")]


def cpu_levels():
    """The CPU levels that this processor runs, lowest first."""
    names = []
    cdef int i = 0
    while bp_all_kernels[i] != NULL:
        if bp_runs(bp_all_kernels[i].level):
            names.append(bp_all_kernels[i].level.decode())
        i += 1
    return tuple(sorted(set(names)))


def cpu_level():
    """The CPU level in use: the highest that this processor runs and BPFAST_CPU allows."""
    levels, cap = cpu_levels(), config.cpu_cap()
    allowed = [level for level in levels if cap is None or level <= cap]
    if not allowed:
        raise ValueError(f"BPFAST_CPU={cap} allows no level of this processor, which runs: {', '.join(levels)}")
    return allowed[-1]


cdef const bp_kernels *find_kernels(str level, int real_size) except NULL:
    cdef int i = 0
    while bp_all_kernels[i] != NULL:
        if bp_all_kernels[i].level.decode() == level and bp_all_kernels[i].real_size == real_size:
            if not bp_runs(bp_all_kernels[i].level):
                break
            return bp_all_kernels[i]
        i += 1
    raise ValueError(f"this processor has no CPU level {level!r}; it runs: {', '.join(cpu_levels())}")


cdef list row_names(const void *table, size_t row_size):
    """The names in a table of kernels; each row begins with its name, and the last one has none."""
    names, row = [], <const char *>table
    while (<const char **>row)[0] != NULL:
        names.append((<const char **>row)[0].decode())
        row += row_size
    return names


cdef const void *find_row(const void *table, size_t row_size, str name) except NULL:
    names = row_names(table, row_size)
    if name not in names:
        raise NotImplementedError(f"{name!r} has no native twin; use backend='numpy'")
    return <const char *>table + <size_t>names.index(name) * row_size


cdef const bp_activation *find_activation(const bp_kernels *kernels, str name) except NULL:
    return <const bp_activation *>find_row(kernels.activations, sizeof(bp_activation), name)


cdef const bp_loss *find_loss(const bp_kernels *kernels, str name) except NULL:
    return <const bp_loss *>find_row(kernels.losses, sizeof(bp_loss), name)


cdef const bp_update *find_update(const bp_kernels *kernels, str name) except NULL:
    return <const bp_update *>find_row(kernels.updates, sizeof(bp_update), name)


cdef int copy_hyper(double *hyper, op) except -1:
    """The hyperparameters of an op, as kernels take them."""
    if len(op.values) > BP_MAX_HYPER:
        raise NotImplementedError(f"{op.name} has {len(op.values)} hyperparameters; kernels take {BP_MAX_HYPER}")
    for i, number in enumerate(op.values):
        hyper[i] = number
    return 0


cdef bint moves_zeros(const bp_update *update, const void *coefficients) noexcept nogil:
    """Whether a step changes a zero parameter of zero gradient, such as Adam's 0 / 0 with epsilon = 0."""
    cdef double numbers[BP_MAX_SLOTS + 2]
    cdef double zeros[BP_MAX_SLOTS + 2]
    cdef void *slots[BP_MAX_SLOTS]
    cdef int s
    memset(numbers, 0, sizeof(numbers))
    memset(zeros, 0, sizeof(zeros))
    for s in range(BP_MAX_SLOTS):
        slots[s] = &numbers[2 + s]
    update.run(&numbers[0], slots, &numbers[1], 1, coefficients)
    return memcmp(numbers, zeros, sizeof(zeros)) != 0


cdef int check_coefficients(Py_ssize_t n) except -1:
    if n > BP_MAX_COEFFICIENTS:
        raise NotImplementedError(f"the update has {n} coefficients; kernels take {BP_MAX_COEFFICIENTS}")
    return 0


cdef const bp_op *find_op(const bp_kernels *kernels, str name) except NULL:
    return <const bp_op *>find_row(kernels.ops, sizeof(bp_op), name)


def runs(op):
    """Whether the C tables have a twin of this op."""
    kernels = Kernels(np.float32)
    return op.name in kernels.activations() + kernels.losses() + kernels.updates()


def fma_peak(dtype=np.float32):
    """GFLOP/s of fused multiply-adds in registers on this core, at the CPU level in use; takes about 20 ms."""
    cdef const bp_kernels *kernels = find_kernels(cpu_level(), np.dtype(dtype).itemsize)
    cdef double begin, done = 0, seconds = 0
    with nogil:
        begin = bp_now()
        while seconds < 0.02:
            done += kernels.peak(100000)
            seconds = bp_now() - begin
    return 2e-9 * done / seconds


# -- memory, and arrays from outside -----------------------------------------------------------------


cdef class Arena:
    """Zeroed memory that begins at a cache line."""

    def __cinit__(self, Py_ssize_t size):
        self._memory = calloc(size + CACHE_LINE, 1)
        if self._memory == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")
        self.data = <char *>((<size_t>self._memory + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
        self.size = size

    def __dealloc__(self):
        free(self._memory)

    def copy_from(self, Arena other):
        """Take the contents of an arena of the same size."""
        memcpy(self.data, other.data, self.size)


cdef class Table:
    """A two-dimensional array from outside, as the kernels gather from it; keeps it alive."""

    def __cinit__(self, array):
        PyObject_GetBuffer(array, &self._buffer, PyBUF_STRIDED_RO)
        self.c.data = <const char *>self._buffer.buf
        self.c.row_stride, self.c.column_stride = self._buffer.strides[0], self._buffer.strides[1]
        self.c.type = TYPES[array.dtype]

    def __dealloc__(self):
        PyBuffer_Release(&self._buffer)


cdef void *address(array, int flags=0) except? NULL:
    """The first number of a C-contiguous array, which the caller keeps alive; PyBUF_WRITABLE to write there."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, flags)
    cdef void *data = buffer.buf
    PyBuffer_Release(&buffer)
    return data


# -- single kernels, for tests and benchmarks ----------------------------------------------------------


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
        rows, n, (padded,) = self._pad(x)
        y = np.empty_like(padded)
        cdef double hyper[BP_MAX_HYPER]
        copy_hyper(hyper, op)
        find_activation(self.kernels, op.name).forward(address(y), address(padded), rows, n, padded.shape[1], hyper)
        return y[:rows, :n].reshape(np.shape(x))

    def activation_adjoint(self, op, dy, x, y):
        """dx = g(dy, x, y), shapes as above."""
        rows, n, (pdy, px, py) = self._pad(dy, x, y)
        dx = np.empty_like(pdy)
        cdef double hyper[BP_MAX_HYPER]
        copy_hyper(hyper, op)
        find_activation(self.kernels, op.name).adjoint(
            address(dx), address(pdy), address(px), address(py), rows, n, pdy.shape[1], hyper)
        return dx[:rows, :n].reshape(np.shape(x))

    def loss(self, op, y, t, mean):
        """-> (values (batch,) float64, dy = mean * dvalue/dy) for outputs y (batch, n)."""
        rows, n, (padded,) = self._pad(y)
        targets = np.ascontiguousarray(t, np.int64) if op.labels else self._pad(t)[2][0]
        values, dy, mean = np.empty(rows), np.empty_like(padded), np.ascontiguousarray(mean, np.float64)
        cdef double hyper[BP_MAX_HYPER]
        copy_hyper(hyper, op)
        if rows:
            find_loss(self.kernels, op.name).run(
                <double *>address(values), address(dy), address(padded), address(targets), <double *>address(mean),
                rows, n, padded.shape[1], hyper)
        return values, dy[:, :n].copy()

    def update(self, op, g, w, slots, coefficients):
        """-> (w, *slots) after a step with these scalars."""
        arrays = [np.array(array, self.dtype, order="C") for array in (w, *slots)]
        g = np.ascontiguousarray(g, self.dtype)
        cdef const double[::1] scalars = np.ascontiguousarray(coefficients, np.float64)
        cdef double reals[BP_MAX_COEFFICIENTS]
        cdef void *pointers[BP_MAX_SLOTS]
        cdef int s
        check_coefficients(len(scalars))
        for s in range(len(slots)):
            pointers[s] = address(arrays[1 + s])
        self.kernels.convert(reals, &scalars[0], len(scalars))
        if g.size:
            find_update(self.kernels, op.name).run(address(arrays[0]), pointers, address(g), g.size, reals)
        return tuple(arrays)

    def _pad(self, *arrays):
        """-> (rows, n, the arrays with rows padded as in a workspace; copied only where they are not)."""
        shaped = [np.atleast_2d(np.ascontiguousarray(array, self.dtype)) for array in arrays]
        rows, n = shaped[0].shape
        width = -(-max(n, 1) // BP_LANES) * BP_LANES
        if n < width:
            shaped = [np.pad(array, ((0, 0), (0, width - n))) for array in shaped]
        return rows, n, shaped
