"""run.h and team.h for Cython."""

from libc.stdint cimport uint64_t

from .plan cimport *

cdef extern from "team.h" nogil:
    ctypedef struct bp_team:
        int n_threads

    bp_team *bp_new_team(int)
    void bp_end_team(bp_team *)

cdef extern from "recorder.h" nogil:
    enum: BP_SUMS, BP_MADE, BP_APART, BP_LOGITS, BP_NOWHERE

    ctypedef struct bp_watched:
        bp_instruction sum
        const bp_parameter *weight
        const bp_activation *activation
        int where
        double least
        int is_rectifier, is_gate
        char *seen

    ctypedef struct bp_recorder:
        uint64_t every
        bp_watched *layers
        int n_layers
        const bp_instruction *plain
        bp_instruction *instructions
        const bp_value *plain_values
        bp_value *values
        bp_value *elsewhere
        int n_values
        void *z
        void *y
        void *slope
        char *old
        char *last
        double *sums
        uint64_t *steps
        Py_ssize_t n_records

cdef extern from "run.h" nogil:
    ctypedef struct bp_run:
        const bp_kernels *kernels
        bp_team *team
        bp_job job
        Py_ssize_t scratch_size
        const bp_instruction *instructions
        int n_instructions, labels
        int output
        const bp_loss *loss
        const double *hyper
        bp_table X, y
        const Py_ssize_t *order
        const double *weight
        double weight_sum
        void *targets
        double *losses
        double *shares
        Py_ssize_t first, rows, cut_rows
        double flops_to_share_units

    ctypedef struct bp_course:
        Py_ssize_t n_rows, batch_size, most_rows
        const double *coefficients
        Py_ssize_t n_columns
        const bp_update *update
        int keeps_gradient, limits_norms, cleans
        double flops_per_row, end
        Py_ssize_t begin, step
        uint64_t first_draw
        double loss_sum, weight_sum
        int diverged
        bp_recorder *recorder

    ctypedef struct bp_epoch "struct bp_epoch":
        double loss, seconds
        Py_ssize_t steps

    ctypedef struct bp_epochs:
        uint64_t seed, epoch
        int n_epochs, n_done, shuffles, begun
        Py_ssize_t *order
        const Py_ssize_t *among
        char **arenas
        char **copies
        int n_arenas
        Py_ssize_t arena_size
        double began
        Py_ssize_t first_step
        double *penalties
        bp_epoch *done

    bint bp_inputs_are_finite(const bp_run *)
    Py_ssize_t bp_size_of_entries(const bp_kernels *, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void bp_place_entries(bp_entries *, const bp_kernels *, char *, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void bp_gather_entries(const bp_kernels *, const bp_entries *, const bp_table *, const Py_ssize_t *, Py_ssize_t,
                           Py_ssize_t)
    void bp_gather_inputs(const bp_run *, Py_ssize_t, Py_ssize_t)
    void bp_gather_targets(const bp_run *, Py_ssize_t, Py_ssize_t)
    void bp_score(const bp_run *, Py_ssize_t, Py_ssize_t)
    bp_part bp_rows(Py_ssize_t, Py_ssize_t)
    int bp_n_stages(const bp_run *)
    void bp_do_stages(const bp_run *, const bp_job *, int, int, bp_part)
    void *bp_row_of(const bp_run *, Py_ssize_t, const bp_value *, Py_ssize_t)
    void bp_train_for(bp_run *, bp_course *, double)
    void bp_train_epochs(bp_run *, bp_course *, bp_epochs *, Py_ssize_t, double)
