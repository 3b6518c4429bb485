"""plan.h and machine.h for Cython."""

from libc.stdint cimport uint64_t

cdef extern from "plan.h" nogil:
    enum: BP_MAX_SLOTS, BP_MAX_COEFFICIENTS, BP_MAX_HYPER, BP_MAX_STATISTICS, BP_LANES, BP_MAX_THREADS, BP_float, BP_double
    enum: BP_SUM, BP_RELU, BP_MASKED, BP_SCALED

    ctypedef struct bp_value:
        Py_ssize_t n, ld, value, before, noted, delta, kept, h, w, c, pitch

    ctypedef struct bp_window:
        Py_ssize_t height, width, stride_y, stride_x, top, left

    ctypedef void bp_forward(void *, const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *) noexcept nogil
    ctypedef void bp_adjoint(void *, const void *, const void *, const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             const double *) noexcept nogil
    ctypedef void bp_loss_run(double *, void *, const void *, const void *, const double *, Py_ssize_t, Py_ssize_t,
                              Py_ssize_t, const double *) noexcept nogil
    ctypedef void bp_update_run(void *, void **, const void *, Py_ssize_t, const void *) noexcept nogil

    ctypedef void bp_forward_slope(void *, void *, const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                   const double *) noexcept nogil

    ctypedef struct bp_activation:
        const char *name
        bp_forward *forward
        bp_adjoint *adjoint
        bp_forward_slope *forward_slope

    ctypedef struct bp_loss:
        const char *name
        bp_loss_run *run

    ctypedef struct bp_update:
        const char *name
        int n_slots
        bp_update_run *run

    ctypedef struct bp_parameter:
        Py_ssize_t offset, size, n_in, n_out
        double l1, l2, l2_of_sum, decay, max_norm

    ctypedef struct bp_clip:
        double value, norm, global_norm

    ctypedef struct bp_instruction:
        const bp_op *op
        int inputs[2]
        int n_inputs, output, wants_dx
        int adds_dx[2]
        const bp_parameter *weight
        const bp_parameter *bias
        const bp_activation *activation
        int fused_relu, fused_adjoint, dx_end
        double hyper[BP_MAX_HYPER]
        const bp_parameter *statistics[BP_MAX_STATISTICS]
        bp_window window
        double settings[2]

    ctypedef struct bp_entries:
        pass

    ctypedef struct bp_job:
        const bp_value *values
        const bp_entries *x
        void *work
        void *scratch
        void *parameters
        void *gradient
        void *slots[BP_MAX_SLOTS]
        const bp_parameter *layout
        int n_parameters, n_slots
        const bp_update *update
        const void *coefficients
        double rate
        bp_clip clip
        int continues, trains
        uint64_t seed, step
        Py_ssize_t rows, first_row

    void bp_find_passes(bp_instruction *)

    ctypedef struct bp_part:
        Py_ssize_t begin, end, first, last

    ctypedef struct bp_op:
        const char *name
        void (*forward)(const bp_job *, const bp_instruction *, bp_part) noexcept nogil
        int mixes_rows

    ctypedef void bp_translate(void *, const char *, Py_ssize_t, Py_ssize_t) noexcept nogil

    ctypedef struct bp_table:
        const char *data
        Py_ssize_t row_stride, column_stride
        int is_flat
        Py_ssize_t line_stride, pixel_stride
        int type
        Py_ssize_t size
        bp_translate *translate
        const Py_ssize_t *starts
        const void *columns
        int has_wide_columns

    ctypedef struct bp_kernels:
        const char *level
        int real_size, panel
        const bp_activation *activations
        const bp_loss *losses
        const bp_update *updates
        const bp_op *ops
        Py_ssize_t (*weight_size)(Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*scratch_size)(Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*conv_scratch_size)(const bp_window *, const bp_value *, const bp_value *) noexcept nogil
        void (*pack)(void *, const void *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*unpack)(void *, const void *, Py_ssize_t, Py_ssize_t) noexcept nogil
        bp_adjoint *by_slope
        void (*add_penalties)(const bp_job *) noexcept nogil
        void (*step_all)(const bp_job *) noexcept nogil
        void (*limit_norms)(const bp_job *) noexcept nogil
        void (*dense_plain)(const bp_job *, const bp_instruction *, Py_ssize_t, const void *, const void *) noexcept nogil
        void (*gather)(void *, Py_ssize_t, Py_ssize_t, const bp_table *, const Py_ssize_t *, Py_ssize_t,
                       Py_ssize_t) noexcept nogil
        void (*scatter)(void *, const void *, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*convert)(void *, const double *, Py_ssize_t) noexcept nogil
        int (*all_finite)(const void *, Py_ssize_t) noexcept nogil
        void (*permutation)(Py_ssize_t *, Py_ssize_t, uint64_t, uint64_t) noexcept nogil
        double (*peak)(Py_ssize_t) noexcept nogil

cdef extern from "machine.h" nogil:
    unsigned bp_flush_denormals()
    void bp_restore_denormals(unsigned)
    double bp_now()
