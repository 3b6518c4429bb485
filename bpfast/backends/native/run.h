/* A block of a batch, which a team shares in phases.  Forward and backward are stages: one after the other they are cut
 * by rows, but a wide layer by units, so that a thread keeps the panels of the weight that it has just changed in its
 * cache.  At last gradient and update are cut by parameters.  Within a phase nothing depends on the cuts, and sums go
 * on in index order, so the bits are the same for any number of threads.  A caller alone goes back layer by layer,
 * while what the gradient reads is in its cache. */
#pragma once
#include <math.h>
#include "dtypes.h"
#include "plan.h"
#include "recorder.h"
#include "sparse.h"
#include "team.h"

enum { BP_FEWEST_ROWS = 6 }; /* of a cut: those of a register tile */

/* Where the parameters of a block begin: a panel row of an instruction whose units are not shared. */
typedef struct {
    int instruction;
    ptrdiff_t row;
} bp_cut;

/* Rows first .. first + rows of an order are at hand. */
typedef struct {
    const bp_kernels *kernels;
    bp_team *team;                        /* NULL: the caller alone */
    bp_job job;                           /* its scratch is that of thread 0 */
    ptrdiff_t scratch_size;               /* bytes of a thread's */
    const bp_instruction *instructions;
    int n_instructions, labels;
    int output;                           /* the value that the loss reads */
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
    double flops_to_share_units;          /* of a layer: with fewer, its rows are shared */
    int n_blocks, first_stage, end_stage; /* of the phase that the team shares */
    ptrdiff_t cut_rows;                   /* rows of the block that the cuts are for; 0: none */
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

/* Rows begin .. end of the block: X into value 0, whose pixels may have padding. */
static void bp_gather_inputs(const bp_run *run, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *x = run->job.values;
    const bp_table *X = &run->X;
    const ptrdiff_t pixel_stride = X->is_flat ? x->c * X->column_stride : X->pixel_stride;
    const ptrdiff_t line_stride = X->is_flat ? x->w * pixel_stride : X->line_stride;
    const ptrdiff_t first = run->first + begin, last = run->first + end;
    if (X->starts) {
        for (ptrdiff_t i = begin; i < end; i++)
            bp_gather_sparse(run->kernels, bp_row_of(run, x->value, x, i), x->n, X, bp_index(run, i));
        return;
    }
    if (X->is_flat && x->pitch == x->c) {
        run->kernels->gather(bp_row_of(run, x->value, x, begin), x->ld, x->n, X, run->order, first, last);
        return;
    }
    for (ptrdiff_t pixel = 0; pixel < x->h * x->w; pixel++) {
        bp_table from = *X;
        from.data += pixel / x->w * line_stride + pixel % x->w * pixel_stride;
        run->kernels->gather(bp_row_of(run, x->value + pixel * x->pitch, x, begin), x->ld, x->c, &from, run->order, first,
                             last);
    }
}

/* Whether every number of the block's inputs is finite. */
static int bp_inputs_are_finite(const bp_run *run) {
    const bp_value *x = run->job.values;
    const bp_entries *sparse = run->job.x;
    if (sparse) return run->kernels->all_finite(sparse->numbers, sparse->starts[run->rows]);
    return run->kernels->all_finite(bp_row_of(run, x->value, x, 0), run->rows * x->ld);
}

static void bp_gather_targets(const bp_run *run, ptrdiff_t begin, ptrdiff_t end) {
    const bp_value *y = run->job.values + run->output;
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
    const bp_value *y = run->job.values + run->output;
    const ptrdiff_t target_size = run->labels ? (ptrdiff_t)sizeof(int64_t) : y->ld * run->kernels->real_size;
    const double sum = run->weight_sum;
    if (run->weight)
        for (ptrdiff_t i = begin; i < end; i++) run->shares[i] = run->weight[bp_index(run, i)] / sum;
    else /* one division for all */
        for (ptrdiff_t i = begin; i < end; i++) run->shares[i] = 1 / sum;
    run->loss->run(run->losses + begin, bp_row_of(run, y->delta, y, begin), bp_row_of(run, y->value, y, begin),
                   (char *)run->targets + begin * target_size, run->shares + begin, end - begin, y->n, y->ld, run->hyper);
}

static bp_job bp_job_of(const bp_run *run, int thread) {
    bp_job job = run->job;
    job.scratch = (char *)job.scratch + thread * run->scratch_size;
    return job;
}

static inline bp_part bp_rows(ptrdiff_t begin, ptrdiff_t end) { return (bp_part){begin, end, 0, PTRDIFF_MAX}; }

/* -- stages: gather, of each instruction prepare and forward, the loss, and of each adjoint, collect and backward -- */

static int bp_loss_stage(const bp_run *run) { return BP_AHEAD * run->n_instructions + 1; }
static int bp_n_stages(const bp_run *run) { return bp_loss_stage(run) + 1 + BP_BACK * run->n_instructions; }
static int bp_forward_stage(int instruction) { return BP_AHEAD * (instruction + 1); }

/* The instruction of a stage and what is done for it; -> NULL: nothing, or no instruction's stage. */
static bp_pass *bp_pass_of(const bp_run *run, int stage, const bp_instruction **it) {
    const int loss = bp_loss_stage(run), ahead = stage - 1, back = stage - loss - 1;
    if (stage == 0 || stage == loss) return 0;
    *it = run->instructions + (stage < loss ? ahead / BP_AHEAD : run->n_instructions - 1 - back / BP_BACK);
    return stage < loss ? (*it)->ahead[ahead % BP_AHEAD] : (*it)->back[back % BP_BACK];
}

/* Whether a stage must not join a phase that begins with another: it reads what other rows leave there, or collects
 * where they may still read what was prepared. */
static int bp_waits(const bp_run *run, int stage, int first_stage) {
    const bp_instruction *it;
    bp_pass *pass = bp_pass_of(run, stage, &it);
    if (!pass || !it->op->mixes_rows) return 0;
    if (pass == it->op->collect) return bp_forward_stage((int)(it - run->instructions)) >= first_stage;
    return pass == it->op->forward || pass == it->op->backward;
}

static int bp_does_something(const bp_run *run, int stage) {
    const bp_instruction *it;
    return stage == 0 || stage == bp_loss_stage(run) || bp_pass_of(run, stage, &it);
}

static void bp_do_stage(const bp_run *run, const bp_job *job, int stage, bp_part part) {
    const bp_instruction *it;
    bp_pass *pass = bp_pass_of(run, stage, &it);
    if (pass) pass(job, it, part);
    else if (stage == 0) {
        if (!run->job.x) bp_gather_inputs(run, part.begin, part.end);
        bp_gather_targets(run, part.begin, part.end);
    } else if (stage == bp_loss_stage(run)) bp_score(run, part.begin, part.end);
}

static void bp_do_stages(const bp_run *run, const bp_job *job, int first, int end, bp_part part) {
    for (int stage = first; stage < end; stage++) bp_do_stage(run, job, stage, part);
}

/* The units of a stage, where the team does better to share these than rows; else 0. */
static ptrdiff_t bp_shared_units(const bp_run *run, int stage) {
    const bp_instruction *it;
    bp_pass *pass = bp_pass_of(run, stage, &it);
    if (!pass || !it->op->shares_units || pass == it->op->adjoint) return 0;
    const int forward = pass == it->op->forward;
    const ptrdiff_t n_in = run->job.values[it->inputs[0]].n, n_out = run->job.values[it->output].n;
    if (n_out == 1 || (forward && it->activation->rowwise)) return 0;
    const ptrdiff_t units = forward ? n_out : n_in, panel = run->kernels->panel, threads = run->team->n_threads;
    const ptrdiff_t most = ((units + panel - 1) / panel + threads - 1) / threads * panel; /* units of the busiest thread */
    const double flops = 2.0 * (double)run->rows * (double)(n_in * n_out);
    /* no thread may have more than 8/7 of its share */
    return 7 * most * threads <= 8 * units && flops >= run->flops_to_share_units ? units : 0;
}

/* -- phases ------------------------------------------------------------------------------------------------ */

static void bp_do_rows(void *task, int block, int thread) {
    const bp_run *run = task;
    const bp_job job = bp_job_of(run, thread);
    bp_do_stages(run, &job, run->first_stage, run->end_stage,
                 bp_rows(run->rows * block / run->n_blocks, run->rows * (block + 1) / run->n_blocks));
}

static void bp_do_units(void *task, int block, int thread) {
    const bp_run *run = task;
    const bp_job job = bp_job_of(run, thread);
    const ptrdiff_t panel = run->kernels->panel, units = bp_shared_units(run, run->first_stage);
    const ptrdiff_t panels = (units + panel - 1) / panel, end = panels * (block + 1) / run->n_blocks * panel;
    const bp_part part = {0, run->rows, panels * block / run->n_blocks * panel, end < units ? end : units};
    bp_do_stage(run, &job, run->first_stage, part);
}

static int bp_most_blocks(const bp_run *run) {
    return 2 * run->team->n_threads < BP_MAX_BLOCKS ? 2 * run->team->n_threads : BP_MAX_BLOCKS;
}

/* All stages, as many as can be in one phase. */
static void bp_share_stages(bp_run *run) {
    const ptrdiff_t most = run->rows / BP_FEWEST_ROWS, threads = run->team->n_threads;
    const int row_blocks = (int)(threads < most ? threads : most > 1 ? most : 1), n_stages = bp_n_stages(run);
    for (int stage = 0; stage < n_stages;) {
        const int shares_units = bp_shared_units(run, stage) > 0;
        int works = bp_does_something(run, stage);
        run->first_stage = stage++;
        while (!shares_units && stage < n_stages && !bp_shared_units(run, stage) && !bp_waits(run, stage, run->first_stage))
            works |= bp_does_something(run, stage++);
        if (!works) continue;
        run->end_stage = stage;
        run->n_blocks = shares_units ? bp_most_blocks(run) : row_blocks;
        bp_share(run->team, shares_units ? bp_do_units : bp_do_rows, run, run->n_blocks);
    }
}

/* The panel rows of an instruction: of every panel of its weight as many as there are inputs; of a vector one. */
static ptrdiff_t bp_panel_rows(const bp_run *run, const bp_instruction *it) {
    const ptrdiff_t panel = run->kernels->panel;
    if (!it->weight) return 0;
    return it->weight->n_in ? it->weight->n_in * ((it->weight->n_out + panel - 1) / panel) : 1;
}

/* A block of the parameters: its share of every layer whose units are shared, and some of the other layers. */
static void bp_do_parameters(void *task, int block, int thread) {
    const bp_run *run = task;
    const bp_job job = bp_job_of(run, thread);
    const bp_cut from = run->cuts[block], to = run->cuts[block + 1];
    for (int i = 0; i < run->n_instructions; i++) {
        const bp_instruction *it = run->instructions + i;
        const ptrdiff_t rows = bp_panel_rows(run, it);
        ptrdiff_t begin = i < from.instruction ? rows : i == from.instruction ? from.row : 0;
        ptrdiff_t end = i < to.instruction ? rows : i == to.instruction ? to.row : 0;
        if (bp_shared_units(run, bp_forward_stage(i)))
            begin = rows * block / run->n_blocks, end = rows * (block + 1) / run->n_blocks;
        if (begin < end) it->op->gradient(&job, it, run->rows, begin, end);
    }
}

/* Cuts the parameters of the layers whose units are not shared into blocks of about as much work each.
 * The weight of a single output stays whole. */
static void bp_cut_parameters(bp_run *run) {
    double total = 0, sum = 0;
    int block = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < run->n_instructions; i++) {
            const bp_instruction *it = run->instructions + i;
            const ptrdiff_t rows = bp_shared_units(run, bp_forward_stage(i)) ? 0 : bp_panel_rows(run, it);
            const bp_value *out = run->job.values + it->output;
            const double size = (double)(rows ? it->weight->size * out->h * out->w : 0); /* work for its gradient */
            if (pass == 0) {
                total += size;
                continue;
            }
            for (; block < run->n_blocks && sum + size > total * block / run->n_blocks; block++) {
                const ptrdiff_t row = (ptrdiff_t)((total * block / run->n_blocks - sum) / size * (double)rows);
                run->cuts[block] = (bp_cut){i, it->weight->n_out == 1 ? 0 : row - row % BP_FEWEST_ROWS};
            }
            sum += size;
        }
    for (; block <= run->n_blocks; block++) run->cuts[block] = (bp_cut){run->n_instructions, 0};
}

static void bp_share_parameters(bp_run *run) {
    run->n_blocks = bp_most_blocks(run);
    if (run->cut_rows != run->rows) bp_cut_parameters(run);
    run->cut_rows = run->rows;
    bp_share(run->team, bp_do_parameters, run, run->n_blocks);
}

static void bp_go_back_alone(const bp_run *run) {
    for (int i = run->n_instructions - 1; i >= 0; i--) {
        const bp_instruction *it = run->instructions + i;
        for (int pass = 0; pass < BP_BACK; pass++)
            if (it->back[pass]) it->back[pass](&run->job, it, bp_rows(0, run->rows));
        if (it->weight) it->op->gradient(&run->job, it, run->rows, 0, bp_panel_rows(run, it));
    }
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
    uint64_t first_draw;                         /* step 0 draws noise of this number */
    double loss_sum, weight_sum;
    int diverged;
    bp_recorder *recorder;                       /* NULL: nothing is recorded */
    int records, keeps_last;                     /* this step; its gradient, for the next */
} bp_course;

#define BP_FLOPS_PER_CLOCK 2e6 /* work between two looks at the clock */

/* A block of the batch: its losses are added up, and its gradient follows that of the blocks before it. */
static void bp_do_block(bp_run *run, bp_course *at) {
    const int until = bp_loss_stage(run) + 1;
    if (run->job.x) { /* alone: this takes little beside the step */
        bp_gather_entries(run->kernels, run->job.x, &run->X, run->order, run->first, run->first + run->rows);
        bp_transpose_entries(run->kernels, run->job.x, run->rows, run->job.values->n);
    }
    if (run->team) bp_share_stages(run);
    else bp_do_stages(run, &run->job, 0, until, bp_rows(0, run->rows));
    double sum = at->loss_sum;
    for (ptrdiff_t i = 0; i < run->rows; i++) sum += run->losses[i] * bp_weight(run, i);
    at->loss_sum = sum;
    at->diverged = at->update && !isfinite(sum);
    if (at->diverged) return;
    if (run->team) bp_share_parameters(run);
    else bp_go_back_alone(run);
    if (at->recorder) bp_see_units(at->recorder, run->kernels, &run->job);
}

/* What is recorded of the step of a batch that ends at this row. */
static void bp_plan_record(bp_run *run, bp_course *at, ptrdiff_t batch_end) {
    const bp_recorder *recorder = at->recorder;
    at->records = bp_is_due(recorder, run->job.step, batch_end == at->n_rows);
    run->instructions = at->records ? recorder->instructions : recorder->plain;
    run->job.values = at->records ? recorder->values : recorder->plain_values;
    at->keeps_last = bp_is_due(recorder, run->job.step + 1, at->n_rows - batch_end <= at->batch_size);
}

/* What belongs to a step after the gradient of its last block. */
static void bp_end_step(bp_run *run, const bp_course *at) {
    bp_job *job = &run->job;
    if (!job->update) {
        run->kernels->add_penalties(job);
        if (!at->update) return;
        if (at->records) bp_record(at->recorder, run->kernels, job);
        if (at->keeps_last) bp_keep_gradient(at->recorder, run->kernels, job);
        job->update = at->update;
        run->kernels->step_all(job);
    }
    for (int i = 0; i < run->n_instructions; i++)
        if (run->instructions[i].op->learn) run->instructions[i].op->learn(job, run->instructions + i, run->rows);
    if (at->limits_norms) run->kernels->limit_norms(job);
    if (at->cleans) run->kernels->clean(job);
    if (at->records) bp_record_update(at->recorder, run->kernels, job);
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
        if (at->recorder && at->begin == 0) bp_forget_units(at->recorder, job->values);
        if (run->weight_sum > 0) {
            job->weight_sum = run->weight_sum;
            if (at->update) {
                const double *row = at->coefficients + at->step * at->n_columns;
                run->kernels->convert(run->coefficients, row + 1, at->n_columns - 1);
                job->rate = row[0];
            }
            job->continues = at->begin > batch;
            job->rows = run->rows, job->first_row = at->begin - batch;
            job->step = at->first_draw + (uint64_t)at->step;
            if (at->recorder) bp_plan_record(run, at, batch_end);
            job->update = job->continues || !ends || at->keeps_gradient || at->records || at->keeps_last ? 0 : at->update;
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

static void bp_train_for(bp_run *run, bp_course *at, double seconds) {
    const unsigned denormals = bp_flush_denormals();
    at->end = bp_now() + seconds;
    bp_train(run, at);
    bp_restore_denormals(denormals);
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
    double penalties[2];             /* when it began: added to the mean loss, and to the sum of every batch */
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
    run->kernels->penalties(epochs->penalties, &run->job);
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
        /* the penalty is the mean over the epoch's steps, as in Workspace.end_epoch (base.py) */
        const ptrdiff_t n_batches = (at->n_rows - 1) / at->batch_size + 1;
        double after[2];
        run->kernels->penalties(after, &run->job);
        const double *before = epochs->penalties, share = (double)(n_batches + 1) / (double)(2 * n_batches);
        const double of_mean = share * before[0] + (1 - share) * after[0], of_sum = share * before[1] + (1 - share) * after[1];
        const double loss = (at->loss_sum + (double)n_batches * of_sum) / at->weight_sum + of_mean;
        epochs->done[epochs->n_done++] = (struct bp_epoch){loss, now - epochs->began, at->step};
        epochs->epoch++;
        epochs->begun = 0;
    } while (epochs->n_done < epochs->n_epochs && now < at->end);
    bp_restore_denormals(denormals);
}
