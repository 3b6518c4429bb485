/* What a training tells of itself: in some of its steps sums behind the figures of every layer (ops/figures.py), taken
 * by the caller alone, between the gradient of a batch and the step by it.  The step is the same with and without. */
#pragma once
#include <math.h>
#include <string.h>
#include "plan.h"

#define BP_POSITIVE 2e-38 /* POSITIVE of figures.py */

enum { /* SUMS of figures.py */
    BP_GRADIENT_SQUARES, BP_PRODUCTS, BP_LAST_SQUARES, BP_WEIGHT_SQUARES, BP_UPDATE_SQUARES,
    BP_Z, BP_Z_SQUARES, BP_Y, BP_Y_SQUARES, BP_FLAT, BP_DEAD, BP_SUMS
};

/* Where z and y = f(z) of a layer are after the way back: both where they were made; z is the input of an instruction
 * that is f alone; z are the logits that the loss reads; or nowhere, since others have taken their place. */
enum { BP_MADE, BP_APART, BP_LOGITS, BP_NOWHERE };

/* A layer that is looked at. */
typedef struct {
    bp_instruction sum;              /* makes z: its last instruction without the activation */
    const bp_parameter *weight;
    const bp_activation *activation; /* of z */
    int where;
    double least;                    /* |f'(z)| below it is flat, or dead; 0: never */
    int is_rectifier, is_gate;       /* units may die; they are active where y > 0 */
    char *seen;                      /* units that were active in this epoch */
    ptrdiff_t n_unseen;
} bp_watched;

typedef struct {
    uint64_t every;                  /* steps 0, every, 2 every ... of the trainer, and the last of every epoch */
    bp_watched *layers;
    int n_layers;
    const bp_instruction *plain;     /* of the run */
    bp_instruction *instructions;    /* of a recorded step, which keeps z */
    const bp_value *plain_values;
    bp_value *values, *elsewhere;    /* of such a step; of what is made again */
    int n_values;
    void *z, *y, *slope;             /* a block of the widest value, each */
    char *old, *last;                /* arenas: parameters before a step, the gradient of the step before */
    uint64_t last_step;              /* of which that is, + 1; 0: none */
    double *sums;                    /* of every record, of every layer */
    uint64_t *steps;                 /* that were finished with each record */
    ptrdiff_t n_records;
} bp_recorder;

/* z and y = f(z) of rows of a layer, and f'(z) where they may be flat. */
typedef struct {
    const void *z, *y, *slope;
} bp_signals;

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

/* From what stands before a layer. */
static bp_signals bp_made_again(const bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job,
                                const bp_watched *layer) {
    const bp_activation *f = layer->activation;
    const bp_part all = {0, job->rows, 0, PTRDIFF_MAX};
    bp_value *out = recorder->elsewhere + layer->sum.output;
    bp_job elsewhere = *job;
    memcpy(recorder->elsewhere, job->values, (size_t)recorder->n_values * sizeof(bp_value));
    out->value = out->before = ((char *)recorder->z - (char *)job->work) / kernels->real_size;
    elsewhere.values = recorder->elsewhere;
    if (layer->sum.op->prepare) layer->sum.op->prepare(&elsewhere, &layer->sum, all); /* the way back wrote over it */
    layer->sum.op->forward(&elsewhere, &layer->sum, all);
    if (!f->forward) return (bp_signals){recorder->z, recorder->z, 0};
    if (f->forward_slope)
        f->forward_slope(recorder->y, recorder->slope, recorder->z, job->rows, out->n, out->ld, layer->sum.hyper);
    else f->forward(recorder->y, recorder->z, job->rows, out->n, out->ld, layer->sum.hyper);
    return (bp_signals){recorder->z, recorder->y, f->forward_slope ? recorder->slope : 0};
}

/* The signals of a layer in this block, where a step that is not recorded has only what its adjoint reads for z. */
static bp_signals bp_signals_of(const bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job,
                                const bp_watched *layer) {
    const bp_value *out = job->values + layer->sum.output;
    const ptrdiff_t size = kernels->real_size;
    const char *work = job->work;
    bp_signals found = {work + out->before * size, work + out->value * size, 0};
    if (layer->where == BP_APART) found.z = work + job->values[layer->sum.inputs[0]].value * size;
    if (layer->where == BP_LOGITS) {
        found.z = found.y, found.y = recorder->y;
        if (layer->activation->forward)
            layer->activation->forward(recorder->y, found.z, job->rows, out->n, out->ld, layer->sum.hyper);
        else found.y = found.z;
    }
    if (layer->where == BP_NOWHERE) found = bp_made_again(recorder, kernels, job, layer);
    if (layer->least > 0 && !found.slope) {
        kernels->fill(recorder->slope, 1, job->rows * out->ld);
        layer->activation->adjoint(recorder->slope, recorder->slope, found.z, found.y, job->rows, out->n, out->ld,
                                   layer->sum.hyper);
        found.slope = recorder->slope;
    }
    return found;
}

/* Which units of rectifiers are active in this block. */
static void bp_see_units(const bp_recorder *recorder, const bp_kernels *kernels, const bp_job *job) {
    for (int i = 0; i < recorder->n_layers; i++) {
        bp_watched *layer = recorder->layers + i;
        const bp_value *out = job->values + layer->sum.output;
        if (!layer->n_unseen) continue;
        const void *slope = layer->is_gate ? (char *)job->work + out->value * kernels->real_size
                                           : bp_signals_of(recorder, kernels, job, layer).slope;
        layer->n_unseen = kernels->active(layer->seen, slope, out, job->rows, layer->is_gate ? BP_POSITIVE : layer->least);
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
        const bp_signals signals = bp_signals_of(recorder, kernels, job, layer);
        kernels->powers(&sums[BP_Z], signals.z, out, job->rows);
        kernels->powers(&sums[BP_Y], signals.y, out, job->rows);
        sums[BP_FLAT] = layer->least > 0 && !layer->is_rectifier
                            ? kernels->flat(signals.slope, out, job->rows, layer->least) : NAN;
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
