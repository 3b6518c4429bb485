from .plan cimport *

cdef enum: CACHE_LINE = 64

cdef const bp_activation *find_activation(const bp_kernels *kernels, op) except NULL
cdef int copy_hyper(double *hyper, op) except -1
cdef const bp_update *find_update(const bp_kernels *kernels, op) except NULL
cdef bint moves_zeros(const bp_update *update, const void *coefficients) noexcept nogil
cdef int check_coefficients(Py_ssize_t n) except -1
cdef bp_table table_of(array) except *
cdef void *address(array, int flags=*) except? NULL
cdef void *numbers(array, dtype, int flags=*) except? NULL

cdef class Arena:
    cdef void *_memory
    cdef char *data
    cdef readonly Py_ssize_t size  # bytes

cdef class Layout:
    cdef const bp_kernels *kernels
    cdef bp_value *values
    cdef bp_parameter *parameters
    cdef readonly Py_ssize_t row_size, kept_size, parameters_size, scratch_size  # numbers
    cdef readonly int n_values, n_parameters
    cdef bint of_input, pads_data
    cdef readonly dict shapes, numbers  # name -> shape, index into parameters
    cdef int _place(self, bp_value *value, shape, maker, const bp_value *replaced, int delta_end, Py_ssize_t line) except -1
    cdef Py_ssize_t _take(self, Py_ssize_t n)
    cdef const bp_parameter *find(self, name) except NULL
    cdef checked(self, name, array)
    cdef int pack(self, Arena arena, arrays) except -1
    cdef int unpack(self, Arena arena, arrays) except -1

cdef class Sequence:
    cdef bp_instruction *c
    cdef int n
    cdef readonly list names  # of the parameters of each instruction
    cdef int output  # value
    cdef const bp_loss *loss
    cdef double loss_hyper[BP_MAX_HYPER]
    cdef bint labels, reads_in_place, reads_entries, is_plain, mixes_rows
