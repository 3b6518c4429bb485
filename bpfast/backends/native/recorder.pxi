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
    cdef Arena watched, values, last, old, steps, sums
    cdef list buffers, seen

    def __cinit__(self, plan, recorder):
        cdef Layout layout = plan.layout
        cdef Sequence training = plan.training
        cdef bp_recorder *c = &self.c
        cdef bp_watched *w
        cdef Arena seen
        cdef int n
        numbers_of = {i.output: n for n, i in enumerate(plan.trained.instructions)}
        self.layout, c.every, c.n_layers, c.n_values = layout, recorder.every, len(recorder.layers), layout.n_values
        self.watched, self.values = Arena(c.n_layers * sizeof(bp_watched)), Arena(c.n_values * sizeof(bp_value))
        c.layers, c.values = <bp_watched *>self.watched.data, <bp_value *>self.values.data
        self.old, self.last = (Arena(layout.parameters_size * layout.kernels.real_size) for _ in range(2))
        c.old, c.last = self.old.data, self.last.data
        self.seen = []
        for n, layer in enumerate(recorder.layers):
            w = &c.layers[n]
            w.sum = training.c[<int>numbers_of[layer.last.output]]
            w.weight = layout.find(layer.weight)
            w.activation = find_activation(layout.kernels, layer.activation)
            copy_hyper(w.sum.hyper, layer.activation)
            w.sum.activation, w.sum.fused_relu = find_activation(layout.kernels, base.LINEAR), False
            w.least, w.is_rectifier = layer.least, layer.is_rectifier
            w.is_gate = gates(layer.activation)
            if layer.is_rectifier:
                seen = Arena(layout.values[w.sum.output].c)
                self.seen.append(seen)
                w.seen = seen.data

    cdef bp_recorder *begin(self, Py_ssize_t n_rows, Py_ssize_t n_steps, Py_ssize_t n_epochs) except NULL:
        """Make room for blocks of so many rows, and the records of so many steps."""
        cdef Py_ssize_t n_records = n_steps // <Py_ssize_t>self.c.every + n_epochs + 2
        cdef Py_ssize_t widest = 0
        cdef int n
        for n in range(self.c.n_layers):
            widest = max(widest, self.layout.values[self.c.layers[n].sum.output].ld)
        if not self.buffers or self.buffers[0].size < n_rows * widest * self.layout.kernels.real_size:
            self.buffers = [Arena(n_rows * widest * self.layout.kernels.real_size) for _ in range(3)]
        self.c.z, self.c.y, self.c.slope = (
            (<Arena>self.buffers[0]).data, (<Arena>self.buffers[1]).data, (<Arena>self.buffers[2]).data)
        self.steps, self.sums = Arena(n_records * 8), Arena(n_records * self.c.n_layers * BP_SUMS * 8)
        self.c.steps, self.c.sums, self.c.n_records = <uint64_t *>self.steps.data, <double *>self.sums.data, 0
        return &self.c

    cdef int end(self, records) except -1:
        """Tell what was recorded."""
        cdef Py_ssize_t r, i, size = self.c.n_layers * BP_SUMS
        for r in range(self.c.n_records):
            sums = np.array([self.c.sums[r * size + i] for i in range(size)])
            records.append((self.c.steps[r], sums.reshape(self.c.n_layers, BP_SUMS)))
        return 0
