/* A block of a batch as two phases, which a team shares.  Rows: gather, forward, loss and backward, cut by rows.
 * Parameters: gradient and update, cut by the inputs of layers.  Within a phase nothing depends on the cuts, and
 * sums go on in index order, so the bits are the same for any number of threads.  A caller alone goes back through
 * both layer by layer, while what they read is in its cache. */
#pragma once
#include <math.h>
#include "dtypes.h"
#include "plan.h"
#include "team.h"

enum { BP_FEWEST_ROWS = 6 }; /* of a cut: those of a register tile */

/* Where the parameters of a block begin: an input of an instruction. */
typedef struct {
    int instruction;
    ptrdiff_t input;
} bp_cut;

/* Rows first .. first + rows of an order are at hand. */
typedef struct {
    const bp_kernels *kernels;
    bp_team *team;                        /* NULL: the caller alone */
    bp_job job;                           /* its scratch is that of thread 0 */
    ptrdiff_t scratch_size;               /* bytes of a thread's */
    const bp_instruction *instructions;
    int n_instructions, labels;
    const bp_value *output;               /* what the loss reads */
    const bp_loss *loss;
    const double *hyper;
    bp_table X, y;
    const ptrdiff_t *order;               /* NULL: rows as they lie */
    const double *weight;                 /* NULL: 1 */
    double weight_sum;                    /* of the batch */
    void *targets;
    double *losses, *shares;              /* of each row */
    double coefficients[BP_MAX_COEFFICIENTS]; /* of the step, as reals */
    ptrdiff_t first, rows;
    int row_blocks, parameter_blocks;     /* that the team shares */
    bp_cut cuts[BP_MAX_BLOCKS + 1];
} bp_run;

static inline void *bp_row_of(const bp_run *run, ptrdiff_t offset, const bp_value *value, ptrdiff_t row) {
    return (char *)run->job.work + (offset + row * value->ld) * run->kernels->real_size;
}

/* The index in the data of row i of the block, and its weight. */
static inline ptrdiff_t bp_index(const bp_run *run, ptrdiff_t i) {
    return run->order ? run->order[run->first + i] : run->first + i;
}
static inline double bp_weight(const bp_run *run, ptrdiff_t i) { return run->weight ? run->weight[bp_index(run, i)] : 1; }

/* Rows begin .. end of the block: X into value 0. */
static void bp_gather_inputs(const bp_run *run, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *x = run->job.values;
    run->kernels->gather(bp_row_of(run, x->value, x, begin), x->ld, x->n, &run->X, run->order, run->first + begin,
                         run->first + end);
}

static void bp_gather_targets(const bp_run *run, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *y = run->output;
    if (!run->labels) {
        run->kernels->gather((char *)run->targets + begin * y->ld * run->kernels->real_size, y->ld, y->n, &run->y,
                             run->order, run->first + begin, run->first + end);
        return;
    }
    for (ptrdiff_t i = begin; i < end; i++)
        ((int64_t *)run->targets)[i] = bp_label(&run->y, bp_index(run, i), y->n);
}

/* The loss of each row of the output, and its delta. */
static void bp_score(const bp_run *run, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *y = run->output;
    const ptrdiff_t target_size = run->labels ? (ptrdiff_t)sizeof(int64_t) : y->ld * run->kernels->real_size;
    for (ptrdiff_t i = begin; i < end; i++) run->shares[i] = bp_weight(run, i) / run->weight_sum;
    run->loss->run(run->losses + begin, bp_row_of(run, y->delta, y, begin), bp_row_of(run, y->value, y, begin),
                   (char *)run->targets + begin * target_size, run->shares + begin, end - begin, y->n, y->ld, run->hyper);
}

static bp_job bp_job_of(const bp_run *run, int thread) {
    bp_job job = run->job;
    job.scratch = (char *)job.scratch + thread * run->scratch_size;
    return job;
}

static void bp_do_forward(const bp_run *run, const bp_job *job, ptrdiff_t begin, ptrdiff_t end) {
    bp_gather_inputs(run, begin, end);
    bp_gather_targets(run, begin, end);
    for (int i = 0; i < run->n_instructions; i++) run->instructions[i].op->forward(job, run->instructions + i, begin, end);
    bp_score(run, begin, end);
}

static void bp_do_backward(const bp_run *run, const bp_job *job, ptrdiff_t begin, ptrdiff_t end) {
    for (int i = run->n_instructions - 1; i >= 0; i--)
        run->instructions[i].op->backward(job, run->instructions + i, begin, end);
}

static void bp_rows_block(void *task, int block, int thread) {
    const bp_run *run = task;
    const bp_job job = bp_job_of(run, thread);
    const ptrdiff_t begin = run->rows * block / run->row_blocks, end = run->rows * (block + 1) / run->row_blocks;
    bp_do_forward(run, &job, begin, end);
    bp_do_backward(run, &job, begin, end);
}

static void bp_rows_phase(bp_run *run) {
    const ptrdiff_t most = run->rows / BP_FEWEST_ROWS, wanted = run->team->n_threads;
    run->row_blocks = (int)(wanted < most ? wanted : most > 1 ? most : 1);
    bp_share(run->team, bp_rows_block, run, run->row_blocks);
}

/* The parameters from one cut to another. */
static void bp_do_parameters(const bp_run *run, const bp_job *job, bp_cut from, bp_cut to) {
    for (int i = from.instruction; i <= to.instruction && i < run->n_instructions; i++) {
        const bp_instruction *it = run->instructions + i;
        ptrdiff_t begin = i == from.instruction ? from.input : 0;
        ptrdiff_t end = i == to.instruction ? to.input : run->job.values[it->inputs[0]].n;
        if (it->op->gradient && begin < end) it->op->gradient(job, it, run->rows, begin, end);
    }
}

static void bp_parameters_block(void *task, int block, int thread) {
    const bp_run *run = task;
    const bp_job job = bp_job_of(run, thread);
    bp_do_parameters(run, &job, run->cuts[block], run->cuts[block + 1]);
}

static void bp_parameters_phase(bp_run *run) {
    bp_share(run->team, bp_parameters_block, run, run->parameter_blocks);
}

static void bp_go_back_alone(const bp_run *run) {
    for (int i = run->n_instructions - 1; i >= 0; i--) {
        const bp_instruction *it = run->instructions + i;
        it->op->backward(&run->job, it, 0, run->rows);
        if (it->op->gradient) it->op->gradient(&run->job, it, run->rows, 0, run->job.values[it->inputs[0]].n);
    }
}

/* Cuts the parameters into blocks of about as many numbers each.  The weight of a single output stays whole. */
static void bp_cut_parameters(bp_run *run, int n_blocks) {
    const bp_value *values = run->job.values;
    double total = 0, sum = 0;
    int block = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < run->n_instructions; i++) {
            const bp_instruction *it = run->instructions + i;
            const ptrdiff_t n_in = values[it->inputs[0]].n, n_out = values[it->output].n;
            const double size = it->op->gradient ? (double)(n_in * n_out) : 0;
            if (pass == 0) {
                total += size;
                continue;
            }
            for (; block < n_blocks && sum + size > total * block / n_blocks; block++) {
                ptrdiff_t input = (ptrdiff_t)((total * block / n_blocks - sum) / (double)n_out);
                run->cuts[block] = (bp_cut){i, n_out == 1 ? 0 : input - input % BP_FEWEST_ROWS};
            }
            sum += size;
        }
    run->cuts[n_blocks] = (bp_cut){run->n_instructions, 0};
    run->parameter_blocks = n_blocks;
}

/* -- the batches of an epoch ----------------------------------------------------------------------------- */

/* How far a training has come, and what it follows. */
typedef struct {
    ptrdiff_t n_rows, batch_size, most_rows;     /* of an epoch, of a batch, of a block */
    const double *coefficients;                  /* a row for each step: the learning rate, then those of the rule */
    ptrdiff_t n_columns;
    const bp_update *update;                     /* NULL: no steps are made, the gradient stays */
    int keeps_gradient, limits_norms, cleans;    /* clips norms; bounds those of units; padding does not stay zero */
    double flops_per_row, end;                   /* by the clock */
    ptrdiff_t begin, step;
    double loss_sum, weight_sum;
    int diverged;
} bp_course;

#define BP_FLOPS_PER_CLOCK 2e6 /* work between two looks at the clock */

/* A block of the batch: its losses are added up, and its gradient follows that of the blocks before it. */
static void bp_do_block(bp_run *run, bp_course *at) {
    const int alone = run->parameter_blocks == 1;
    if (alone) bp_do_forward(run, &run->job, 0, run->rows);
    else bp_rows_phase(run);
    for (ptrdiff_t i = 0; i < run->rows; i++) at->loss_sum += run->losses[i] * bp_weight(run, i);
    at->diverged = at->update && !isfinite(at->loss_sum);
    if (at->diverged) return;
    if (alone) bp_go_back_alone(run);
    else bp_parameters_phase(run);
}

/* What belongs to a step after the gradient of its last block. */
static void bp_end_step(bp_run *run, const bp_course *at) {
    bp_job *job = &run->job;
    if (!job->update) {
        run->kernels->add_penalties(job);
        if (!at->update) return;
        job->update = at->update;
        run->kernels->step_all(job);
    }
    if (at->limits_norms) run->kernels->limit_norms(job);
    for (int i = 0; at->cleans && i < run->n_instructions; i++)
        if (run->instructions[i].op->clean) run->instructions[i].op->clean(job, run->instructions + i);
}

/* Batches from row `begin` on, until the rows or the time are over or a loss is not finite.
 * A batch of zero weight makes no step. */
static void bp_train(bp_run *run, bp_course *at) {
    double work = 0;
    int known = 0; /* the weight of the batch */
    bp_job *job = &run->job;
    job->coefficients = run->coefficients;
    while (at->begin < at->n_rows) {
        const ptrdiff_t batch = at->begin - at->begin % at->batch_size;
        const ptrdiff_t batch_end = at->n_rows - batch > at->batch_size ? batch + at->batch_size : at->n_rows;
        run->first = at->begin;
        run->rows = batch_end - at->begin < at->most_rows ? batch_end - at->begin : at->most_rows;
        const int ends = run->first + run->rows == batch_end;
        if (run->first == batch || !known) {
            known = 1;
            run->weight_sum = run->weight ? 0 : (double)(batch_end - batch);
            for (ptrdiff_t i = batch; run->weight && i < batch_end; i++) run->weight_sum += bp_weight(run, i - run->first);
        }
        if (run->weight_sum > 0) {
            if (at->update) {
                const double *row = at->coefficients + at->step * at->n_columns;
                run->kernels->convert(run->coefficients, row + 1, at->n_columns - 1);
                job->rate = row[0];
            }
            job->continues = at->begin > batch;
            job->update = job->continues || !ends || at->keeps_gradient ? 0 : at->update;
            bp_do_block(run, at);
            if (at->diverged) return;
            if (ends) {
                bp_end_step(run, at);
                at->step++;
                at->weight_sum += run->weight_sum;
            }
        }
        work += at->flops_per_row * (double)run->rows;
        at->begin = run->first + run->rows;
        if (work > BP_FLOPS_PER_CLOCK) {
            work = 0;
            if (bp_now() >= at->end) return;
        }
    }
}

/* -- epochs ------------------------------------------------------------------------------------------------ */

/* Epochs that nobody looks between: each begins with an order of the rows and a copy to go back to. */
typedef struct {
    uint64_t seed, epoch;
    int n_epochs, n_done, shuffles, begun;
    ptrdiff_t *order;                /* of n_rows */
    const ptrdiff_t *among;          /* the rows to learn from; NULL: all */
    char *arenas[1 + BP_MAX_SLOTS], *copies[1 + BP_MAX_SLOTS];
    int n_arenas;
    ptrdiff_t arena_size;            /* bytes */
    double began;
    ptrdiff_t first_step;            /* of the epoch */
    struct bp_epoch {
        double loss, seconds;
        ptrdiff_t steps;             /* until its end */
    } *done;
} bp_epochs;

static void bp_begin_epoch(bp_run *run, bp_course *at, bp_epochs *epochs) {
    for (int s = 0; s < epochs->n_arenas; s++) memcpy(epochs->copies[s], epochs->arenas[s], (size_t)epochs->arena_size);
    if (epochs->shuffles) run->kernels->permutation(epochs->order, at->n_rows, epochs->seed, epochs->epoch);
    else for (ptrdiff_t i = 0; i < at->n_rows; i++) epochs->order[i] = i;
    for (ptrdiff_t i = 0; epochs->among && i < at->n_rows; i++) epochs->order[i] = epochs->among[epochs->order[i]];
    run->order = epochs->order;
    epochs->first_step = at->step;
    at->begin = 0, at->loss_sum = at->weight_sum = 0;
    epochs->begun = 1;
}

/* From where `at` stands, until the epochs or the time are over or a number is not finite. */
static void bp_train_epochs(bp_run *run, bp_course *at, bp_epochs *epochs, ptrdiff_t n_parameters, double seconds) {
    double now = bp_now();
    const unsigned denormals = bp_flush_denormals();
    at->end = now + seconds;
    run->order = epochs->order;
    do {
        if (!epochs->begun) {
            epochs->began = now;
            bp_begin_epoch(run, at, epochs);
        }
        bp_train(run, at);
        now = bp_now();
        if (at->diverged || at->begin < at->n_rows) break;
        at->diverged = !run->kernels->all_finite(run->job.parameters, n_parameters);
        if (at->diverged) break;
        epochs->done[epochs->n_done++] = (struct bp_epoch){at->loss_sum / at->weight_sum, now - epochs->began, at->step};
        epochs->epoch++;
        epochs->begun = 0;
    } while (epochs->n_done < epochs->n_epochs && now < at->end);
    bp_restore_denormals(denormals);
}
