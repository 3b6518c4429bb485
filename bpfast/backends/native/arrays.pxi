"""Memory, and arrays from outside: a part of tables.pyx, since a module of its own would bring 50 kB."""

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
        with nogil:  # those of a large network take long
            memcpy(self.data, other.data, self.size)


cdef bp_table table_of(array) except *:
    """Rows from outside, as the kernels gather from them; the caller keeps them alive."""
    cdef bp_table table
    cdef int axis
    cdef Py_ssize_t step = 0, length = 1
    cdef Py_buffer buffer
    if isinstance(array, SparseRows):
        table = table_of(array.values[None])
        table.starts = <const Py_ssize_t *>address(array.starts)
        table.columns, table.has_wide_columns = address(array.columns), array.columns.itemsize == 8
        return table
    table.starts = NULL
    dtype = array.dtype
    if dtype in TYPES:
        table.translate = NULL
    else:
        table.translate = bp_translation(ord(dtype.char), dtype.itemsize, not dtype.isnative)
        dtype = native_dtype(dtype)
    table.type, table.size = TYPES[dtype], dtype.itemsize
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDED_RO)
    table.data = <const char *>buffer.buf
    table.row_stride, table.column_stride = buffer.strides[0], buffer.strides[buffer.ndim - 1]
    table.pixel_stride, table.line_stride = buffer.strides[buffer.ndim - 2], buffer.strides[1]
    table.is_flat = True
    for axis in range(buffer.ndim - 1, 0, -1):
        if buffer.shape[axis] > 1:
            step = step or buffer.strides[axis]
            table.is_flat = table.is_flat and buffer.strides[axis] == step * length
            length *= buffer.shape[axis]
    if table.is_flat:
        table.column_stride = step or buffer.itemsize
    PyBuffer_Release(&buffer)
    return table


cdef void *address(array, int flags=0) except? NULL:
    """The first number of a C-contiguous array, which the caller keeps alive; PyBUF_WRITABLE to write there."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, flags)
    cdef void *data = buffer.buf
    PyBuffer_Release(&buffer)
    return data


cdef void *numbers(array, dtype, int flags=0) except? NULL:
    """The same, of an array that must have this dtype.  A typed memoryview would bring 50 kB of code."""
    if array.dtype != dtype:
        raise TypeError(f"an array of {dtype} is needed, got {array.dtype}")
    return address(array, flags)
