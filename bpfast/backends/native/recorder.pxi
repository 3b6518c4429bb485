# -- what a training tells of itself (recorder.h): a part of engine.pyx ----------------------------------


class Recorder(recorder.Recorder):
    """Its records are made in compiled code."""

    def __init__(self, plan, every):
        super().__init__(plan, every)
        self.native = Recording(plan, self)


cdef class Recording:
    """The recorder of a training in C, with its memory."""

    cdef bp_recorder c
    cdef Layout layout
    cdef Arena watched, values, elsewhere, instructions, last, old, steps, sums
    cdef list buffers, seen

    def __cinit__(self, plan, recorder):
        cdef Layout layout = plan.layout
        cdef Sequence training = plan.training
        cdef bp_recorder *c = &self.c
        cdef bp_instruction *instructions
        cdef bp_watched *w
        cdef Arena seen
        cdef int n, i
        self.layout, c.every, c.n_layers, c.n_values = layout, recorder.every, len(recorder.layers), layout.n_values
        self.watched, self.instructions = Arena(c.n_layers * sizeof(bp_watched)), Arena(training.n * sizeof(bp_instruction))
        self.values, self.elsewhere = (Arena(c.n_values * sizeof(bp_value)) for _ in range(2))
        self.old, self.last = (Arena(layout.parameters_size * layout.kernels.real_size) for _ in range(2))
        c.layers, c.plain = <bp_watched *>self.watched.data, training.c
        c.instructions = <bp_instruction *>self.instructions.data
        c.values, c.elsewhere = <bp_value *>self.values.data, <bp_value *>self.elsewhere.data
        c.old, c.last = self.old.data, self.last.data
        memcpy(c.instructions, training.c, training.n * sizeof(bp_instruction))
        self.seen = []
        numbers_of = {instruction.output: number for number, instruction in enumerate(plan.trained.instructions)}
        for n, layer in enumerate(recorder.layers):
            w, i = &c.layers[n], numbers_of[layer.last.output]
            w.sum, w.weight = training.c[i], layout.find(layer.weight)
            w.activation = find_activation(layout.kernels, layer.activation)
            copy_hyper(w.sum.hyper, layer.activation)
            w.sum.activation, w.sum.fused_relu = find_activation(layout.kernels, base.LINEAR), False
            w.least, w.is_rectifier, w.is_gate = layer.least, layer.is_rectifier, gates(layer.activation)
            w.where = self.where_of(plan, layer)
            if w.where == BP_MADE:
                c.instructions[i].fused_relu = False
            if layer.is_rectifier:
                seen = Arena(layout.values[w.sum.output].c)
                self.seen.append(seen)
                w.seen = seen.data

    cdef int where_of(self, plan, layer) except -1:
        """Where the signals of a layer are to be found."""
        if layer.last.output == plan.trained.output and layer.last.activation == base.LINEAR:
            return BP_LOGITS
        if layer.activation == base.LINEAR or layer.activation.has_slopes:
            return BP_NOWHERE
        return BP_APART if layer.last.op == "activation" else BP_MADE if layer.last.op in base.ACTIVATES else BP_NOWHERE

    cdef bp_recorder *begin(self, const bp_job *job, Py_ssize_t n_rows, Py_ssize_t n_steps, Py_ssize_t n_epochs) except NULL:
        """Make room for blocks of so many rows, and the records of so many steps."""
        cdef bp_recorder *c = &self.c
        cdef Py_ssize_t size = self.layout.kernels.real_size, n_records = n_steps // <Py_ssize_t>c.every + n_epochs + 2
        cdef bp_watched *w
        cdef int n
        widths = [job.values[c.layers[n].sum.output].ld for n in range(c.n_layers)]
        needed = [max(widths)] * 3 + [width for n, width in enumerate(widths) if c.layers[n].where == BP_MADE]
        if not self.buffers or (<Arena>self.buffers[0]).size < n_rows * max(widths) * size:
            self.buffers = [Arena(n_rows * width * size) for width in needed]
        c.z, c.y, c.slope = (
            (<Arena>self.buffers[0]).data, (<Arena>self.buffers[1]).data, (<Arena>self.buffers[2]).data)
        memcpy(c.values, job.values, c.n_values * sizeof(bp_value))
        places = iter(self.buffers[3:])
        for n in range(c.n_layers):
            w = &c.layers[n]
            if w.where == BP_MADE:
                c.values[w.sum.output].before = ((<Arena>next(places)).data - <char *>job.work) // size
        c.plain_values = job.values
        self.steps, self.sums = Arena(n_records * 8), Arena(n_records * c.n_layers * BP_SUMS * 8)
        c.steps, c.sums, c.n_records = <uint64_t *>self.steps.data, <double *>self.sums.data, 0
        return c

    cdef int end(self, records) except -1:
        """Tell what was recorded."""
        cdef Py_ssize_t r, i, size = self.c.n_layers * BP_SUMS
        for r in range(self.c.n_records):
            sums = np.array([self.c.sums[r * size + i] for i in range(size)])
            records.append((self.c.steps[r], sums.reshape(self.c.n_layers, BP_SUMS)))
        return 0
