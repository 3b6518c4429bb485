/* What a training tells of itself: in some of its steps sums behind the figures of every layer (ops/figures.py), taken
 * by the caller alone, between the gradient of a batch and the step by it.  The step is the same with and without. */
#pragma once
#include <math.h>
#include <string.h>
#include "plan.h"

enum { /* SUMS of figures.py */
    BP_GRADIENT_SQUARES, BP_PRODUCTS, BP_LAST_SQUARES, BP_WEIGHT_SQUARES, BP_UPDATE_SQUARES,
    BP_Z, BP_Z_SQUARES, BP_Y, BP_Y_SQUARES, BP_FLAT, BP_DEAD, BP_SUMS
};

/* A layer that is looked at. */
typedef struct {
    bp_instruction sum;              /* makes z: its last instruction without the activation */
    const bp_parameter *weight;
    const bp_activation *activation; /* of z */
    double least;                    /* |f'(z)| below it is flat, or dead; 0: never */
    int is_rectifier, is_gate;       /* units may die; they are active where y > 0 */
    char *seen;                      /* units that were active in this epoch */
    ptrdiff_t n_unseen;
} bp_watched;

typedef struct {
    uint64_t every;                  /* steps 0, every, 2 every ... of the trainer, and the last of every epoch */
    bp_watched *layers;
    int n_layers;
    bp_value *values;                /* a copy of the job's, whose places may be changed */
    int n_values;
    void *z, *y, *slope;             /* a block of the widest value, each */
    char *old, *last;                /* arenas: parameters before a step, the gradient of the step before */
    uint64_t last_step;              /* of which that is, + 1; 0: none */
    double *sums;                    /* of every record, of every layer */
    uint64_t *steps;                 /* that were finished with each record */
    ptrdiff_t n_records;
} bp_recorder;

/* The sums of a layer in the record that is being made. */
static double *bp_sums_of(const bp_recorder *recorder, int layer) {
    return recorder->sums + (recorder->n_records * recorder->n_layers + layer) * BP_SUMS;
}

static int bp_is_due(const bp_recorder *recorder, uint64_t step, int ends_epoch) {
    return step % recorder->every == 0 || ends_epoch;
}

static void bp_forget_units(const bp_recorder *recorder, const bp_value *values) {
    for (int i = 0; i < recorder->n_layers; i++) {
        bp_watched *layer = recorder->layers + i;
        layer->n_unseen = layer->is_rectifier ? values[layer->sum.output].c : 0;
        if (layer->seen) memset(layer->seen, 0, (size_t)layer->n_unseen);
    }
}

/* z, y = f(z) and f'(z) of a layer into the recorder's buffers, from what stands behind it: its own place may have been
 * taken by others. */
static void bp_look_again(const bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job, bp_watched *layer) {
    const bp_value *out = job->values + layer->sum.output;
    const bp_activation *f = layer->activation;
    const ptrdiff_t rows = job->rows, size = kernels->real_size;
    const bp_part all = {0, rows, 0, PTRDIFF_MAX};
    bp_job elsewhere = *job;
    memcpy(recorder->values, job->values, (size_t)recorder->n_values * sizeof(bp_value));
    recorder->values[layer->sum.output].value = recorder->values[layer->sum.output].before =
        ((char *)recorder->z - (char *)job->work) / size;
    elsewhere.values = recorder->values;
    if (layer->sum.op->prepare) layer->sum.op->prepare(&elsewhere, &layer->sum, all); /* the way back wrote over it */
    layer->sum.op->forward(&elsewhere, &layer->sum, all);
    if (!f->forward) memcpy(recorder->y, recorder->z, (size_t)(rows * out->ld * size));
    else if (f->forward_slope) f->forward_slope(recorder->y, recorder->slope, recorder->z, rows, out->n, out->ld, layer->sum.hyper);
    else f->forward(recorder->y, recorder->z, rows, out->n, out->ld, layer->sum.hyper);
    if (layer->least > 0 && !f->forward_slope) {
        kernels->fill(recorder->slope, 1, rows * out->ld);
        f->adjoint(recorder->slope, recorder->slope, recorder->z, recorder->y, rows, out->n, out->ld, layer->sum.hyper);
    }
}

/* Which units of rectifiers are active in this block. */
static void bp_see_units(const bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job) {
    for (int i = 0; i < recorder->n_layers; i++) {
        bp_watched *layer = recorder->layers + i;
        const bp_value *out = job->values + layer->sum.output;
        const void *slope = recorder->slope;
        if (!layer->n_unseen) continue;
        if (layer->is_gate) slope = (char *)job->work + out->value * kernels->real_size;
        else bp_look_again(recorder, kernels, job, layer);
        layer->n_unseen = kernels->active(layer->seen, slope, out, job->rows, layer->is_gate ? 2e-38 : layer->least);
    }
}

/* Before a step by a gradient that is kept. */
static void bp_record(bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job) {
    for (int i = 0; i < recorder->n_layers; i++) {
        bp_watched *layer = recorder->layers + i;
        const bp_value *out = job->values + layer->sum.output;
        const ptrdiff_t begin = layer->weight->offset * kernels->real_size;
        const int has_last = recorder->last_step == job->step && job->step > 0;
        double of_gradient[4], *sums = bp_sums_of(recorder, i);
        kernels->compare(of_gradient, (char *)job->gradient + begin, recorder->last + begin, layer->weight->size);
        sums[BP_GRADIENT_SQUARES] = of_gradient[0];
        sums[BP_PRODUCTS] = has_last ? of_gradient[1] : NAN;
        sums[BP_LAST_SQUARES] = has_last ? of_gradient[2] : NAN;
        bp_look_again(recorder, kernels, job, layer);
        kernels->powers(&sums[BP_Z], recorder->z, out, job->rows);
        kernels->powers(&sums[BP_Y], recorder->y, out, job->rows);
        sums[BP_FLAT] = layer->least > 0 && !layer->is_rectifier
                               ? kernels->flat(recorder->slope, out, job->rows, layer->least) : NAN;
        sums[BP_DEAD] = layer->is_rectifier ? (double)layer->n_unseen / (double)out->c : NAN;
        memcpy(recorder->old + begin, (char *)job->parameters + begin, (size_t)(layer->weight->size * kernels->real_size));
    }
}

/* After it. */
static void bp_record_update(bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job) {
    for (int i = 0; i < recorder->n_layers; i++) {
        const ptrdiff_t begin = recorder->layers[i].weight->offset * kernels->real_size;
        double of_weights[4], *sums = bp_sums_of(recorder, i);
        kernels->compare(of_weights, recorder->old + begin, (char *)job->parameters + begin, recorder->layers[i].weight->size);
        sums[BP_WEIGHT_SQUARES] = of_weights[0];
        sums[BP_UPDATE_SQUARES] = of_weights[3];
    }
    recorder->steps[recorder->n_records++] = job->step + 1;
}

/* The gradient that the next step will be compared with. */
static void bp_keep_gradient(bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job) {
    for (int i = 0; i < recorder->n_layers; i++) {
        const bp_parameter *weight = recorder->layers[i].weight;
        const ptrdiff_t begin = weight->offset * kernels->real_size;
        memcpy(recorder->last + begin, (char *)job->gradient + begin, (size_t)(weight->size * kernels->real_size));
    }
    recorder->last_step = job->step + 1;
}
