from .plan cimport bp_activation, bp_kernels, bp_loss, bp_op, bp_table, bp_update

cdef enum: CACHE_LINE = 64

cdef const bp_kernels *find_kernels(str level, int real_size) except NULL
cdef const bp_activation *find_activation(const bp_kernels *kernels, str name) except NULL
cdef const bp_loss *find_loss(const bp_kernels *kernels, str name) except NULL
cdef const bp_update *find_update(const bp_kernels *kernels, str name) except NULL
cdef const bp_op *find_op(const bp_kernels *kernels, str name) except NULL
cdef bint moves_zeros(const bp_update *update, const void *coefficients) noexcept nogil
cdef int check_coefficients(Py_ssize_t n) except -1
cdef int copy_hyper(double *hyper, op) except -1
cdef void *address(array, int flags=*) except? NULL

cdef class Arena:
    cdef void *_memory
    cdef char *data
    cdef readonly Py_ssize_t size  # bytes

cdef class Table:
    cdef Py_buffer _buffer
    cdef bp_table c
