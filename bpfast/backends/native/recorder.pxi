# -- what a training tells of itself (recorder.h): a part of engine.pyx ----------------------------------

PLACES = {"made": BP_MADE, "apart": BP_APART, "logits": BP_LOGITS, "nowhere": BP_NOWHERE}


class Recorder(recorder.Recorder):
    """Its records are made in compiled code."""

    def __init__(self, plan, every):
        recorder.Recorder.__init__(self, plan, every)
        self.native = Recording(plan, self)


cdef class Recording:
    """The recorder of a training in C, with its memory."""

    cdef bp_recorder c
    cdef Layout layout
    cdef list arenas, places
    cdef Py_ssize_t n_rows

    cdef char *memory(self, Py_ssize_t size, list kept) except NULL:
        """So many bytes, for as long as the list lives."""
        cdef Arena arena = Arena(size)
        kept.append(arena)
        return arena.data

    def __cinit__(self, plan, recorder):
        cdef Layout layout = plan.layout
        cdef Sequence training = plan.training
        cdef bp_recorder *c = &self.c
        cdef bp_watched *w
        cdef Py_ssize_t size = layout.parameters_size * layout.kernels.real_size
        cdef int n, i
        self.layout, self.arenas, self.places = layout, [], []
        c.every, c.n_layers, c.n_values = recorder.every, len(recorder.layers), layout.n_values
        c.layers = <bp_watched *>self.memory(c.n_layers * sizeof(bp_watched), self.arenas)
        c.plain = training.c
        c.instructions = <bp_instruction *>self.memory(training.n * sizeof(bp_instruction), self.arenas)
        c.values = <bp_value *>self.memory(c.n_values * sizeof(bp_value), self.arenas)
        c.elsewhere = <bp_value *>self.memory(c.n_values * sizeof(bp_value), self.arenas)
        c.old, c.last = self.memory(size, self.arenas), self.memory(size, self.arenas)
        memcpy(c.instructions, training.c, training.n * sizeof(bp_instruction))
        for n, layer in enumerate(recorder.layers):
            w, i = &c.layers[n], plan.trained.instructions.index(layer.last)
            w.sum, w.weight = training.c[i], layout.find(layer.weight)
            w.activation = find_activation(layout.kernels, layer.activation)
            copy_hyper(w.sum.hyper, layer.activation)
            w.sum.activation, w.sum.fused_relu = find_activation(layout.kernels, base.LINEAR), False
            w.least, w.is_rectifier, w.is_gate = layer.least, layer.is_rectifier, layer.is_gate
            w.where = PLACES[layer.where]
            if w.where == BP_MADE:
                c.instructions[i].fused_relu = False
            if w.is_rectifier:
                w.seen = self.memory(layout.values[w.sum.output].c, self.arenas)

    cdef bp_recorder *begin(self, const bp_job *job, Py_ssize_t n_rows, Py_ssize_t n_steps, Py_ssize_t n_epochs) except NULL:
        """Make room for blocks of so many rows, and the records of so many steps."""
        cdef bp_recorder *c = &self.c
        cdef Py_ssize_t size = n_rows * self.layout.kernels.real_size, widest = 0
        cdef Py_ssize_t n_records = n_steps // <Py_ssize_t>c.every + n_epochs + 2
        cdef bp_value *out
        cdef int n
        self.places = []
        c.plain_values = job.values
        memcpy(c.values, job.values, c.n_values * sizeof(bp_value))
        for n in range(c.n_layers):
            out = &c.values[c.layers[n].sum.output]
            widest = max(widest, out.ld)
            if c.layers[n].where == BP_MADE:
                out.before = (self.memory(size * out.ld, self.places) - <char *>job.work) // self.layout.kernels.real_size
        c.z, c.y, c.slope = (self.memory(size * widest, self.places), self.memory(size * widest, self.places),
                             self.memory(size * widest, self.places))
        c.steps = <uint64_t *>self.memory(n_records * 8, self.places)
        c.sums, c.n_records = <double *>self.memory(n_records * c.n_layers * BP_SUMS * 8, self.places), 0
        return c

    cdef int end(self, records) except -1:
        """Tell what was recorded."""
        cdef Py_ssize_t r, size = self.c.n_layers * BP_SUMS * 8
        for r in range(self.c.n_records):
            sums = np.empty((self.c.n_layers, BP_SUMS))
            memcpy(address(sums, PyBUF_WRITABLE), <char *>self.c.sums + r * size, size)
            records.append((self.c.steps[r], sums))
        return 0
