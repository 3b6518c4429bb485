/* A team of threads for one fit.  The work of a phase is cut into blocks, which the caller and the others claim
 * one by one until none is left: first each its own, whose data its cache may hold, then those of others.  The caller
 * waits for what has been claimed and for nobody else: a thread that gets no processor delays nothing.  Who waits
 * spins for a while, then sleeps. */
#pragma once
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "machine.h"

typedef void bp_work(void *task, int block, int thread);

enum { BP_MAX_BLOCKS = 32 };
#define BP_SPIN_SECONDS 50e-6 /* about what falling asleep and being woken costs */

typedef struct {
    /* The phase << 32 | a bit for each block that nobody has claimed: one word, so that a late thread can claim no
     * block of a phase other than the one that it has read. */
    _Alignas(64) _Atomic uint64_t unclaimed;
    _Alignas(64) atomic_int done;    /* blocks of this phase */
    atomic_int caller_sleeps, sleepers, quits;
    bp_work *work;
    void *task;
    atomic_int n_blocks;
    pthread_mutex_t mutex;
    pthread_cond_t phase_began, phase_done;
    int n_threads, n_members;        /* members: those of the threads that had to be begun */
    struct bp_member {
        void *team;
        int number;
        pthread_t thread;
    } members[];
} bp_team;

static inline uint32_t bp_phase(uint64_t unclaimed) { return (uint32_t)(unclaimed >> 32); }
static inline uint32_t bp_blocks_up_to(int n) { return (uint32_t)((UINT64_C(1) << n) - 1); }

static inline void bp_pause(void) {
#if defined __x86_64__
    __builtin_ia32_pause();
#endif
}

/* Claims blocks of a phase and does them until none is left. */
static void bp_take_blocks(bp_team *team, uint32_t phase, int thread) {
    uint64_t unclaimed = atomic_load(&team->unclaimed);
    while (bp_phase(unclaimed) == phase && (uint32_t)unclaimed) {
        const int n_blocks = team->n_blocks;
        const uint32_t open = (uint32_t)unclaimed, own = open & (bp_blocks_up_to(n_blocks * (thread + 1) / team->n_threads) -
                                                                bp_blocks_up_to(n_blocks * thread / team->n_threads));
        const int block = own ? __builtin_ctz(own) : 31 - __builtin_clz(open);
        if (!atomic_compare_exchange_weak(&team->unclaimed, &unclaimed, unclaimed & ~(UINT64_C(1) << block))) continue;
        team->work(team->task, block, thread);
        if (atomic_fetch_add(&team->done, 1) + 1 == n_blocks && atomic_load(&team->caller_sleeps)) {
            pthread_mutex_lock(&team->mutex);
            pthread_cond_signal(&team->phase_done);
            pthread_mutex_unlock(&team->mutex);
        }
        unclaimed = atomic_load(&team->unclaimed);
    }
}

/* Returns when there is another phase than the one that was seen. */
static void bp_await_phase(bp_team *team, uint32_t seen) {
    const double end = bp_now() + BP_SPIN_SECONDS;
    while (bp_phase(atomic_load(&team->unclaimed)) == seen) {
        if (bp_now() < end) {
            bp_pause();
            continue;
        }
        pthread_mutex_lock(&team->mutex);
        atomic_fetch_add(&team->sleepers, 1);
        if (bp_phase(atomic_load(&team->unclaimed)) == seen) /* else it began before it could know of this sleeper */
            pthread_cond_wait(&team->phase_began, &team->mutex);
        pthread_mutex_unlock(&team->mutex);
    }
}

static void *bp_member_runs(void *argument) {
    const struct bp_member *self = argument;
    bp_team *team = self->team;
    unsigned denormals = bp_flush_denormals();
    uint32_t seen = 0;
    while (!atomic_load(&team->quits)) {
        bp_await_phase(team, seen);
        seen = bp_phase(atomic_load(&team->unclaimed));
        bp_take_blocks(team, seen, self->number);
    }
    bp_restore_denormals(denormals);
    return 0;
}

/* Lets the others know of a phase; those that sleep are woken once. */
static void bp_begin_phase(bp_team *team, int n_blocks) {
    uint64_t phase = bp_phase(atomic_load(&team->unclaimed)) + 1u;
    atomic_store(&team->unclaimed, phase << 32 | bp_blocks_up_to(n_blocks));
    if (atomic_load(&team->sleepers)) {
        pthread_mutex_lock(&team->mutex);
        atomic_store(&team->sleepers, 0);
        pthread_cond_broadcast(&team->phase_began);
        pthread_mutex_unlock(&team->mutex);
    }
}

/* work(task, block, thread) for every block; returns when all are done. */
static void bp_share(bp_team *team, bp_work *work, void *task, int n_blocks) {
    team->work = work, team->task = task, team->n_blocks = n_blocks;
    atomic_store(&team->done, 0);
    bp_begin_phase(team, n_blocks);
    bp_take_blocks(team, bp_phase(atomic_load(&team->unclaimed)), 0);
    double end = bp_now() + BP_SPIN_SECONDS;
    while (atomic_load(&team->done) < n_blocks && bp_now() < end) bp_pause();
    if (atomic_load(&team->done) == n_blocks) return;
    pthread_mutex_lock(&team->mutex);
    atomic_store(&team->caller_sleeps, 1);
    while (atomic_load(&team->done) < n_blocks) pthread_cond_wait(&team->phase_done, &team->mutex);
    atomic_store(&team->caller_sleeps, 0);
    pthread_mutex_unlock(&team->mutex);
}

/* n_threads with the caller; fewer, whose blocks others take, where the system gives no more.  NULL: no memory. */
static bp_team *bp_new_team(int n_threads) {
    size_t size = sizeof(bp_team) + (size_t)n_threads * sizeof(struct bp_member);
    bp_team *team = aligned_alloc(64, (size + 63) / 64 * 64);
    sigset_t all, before;
    if (!team) return 0;
    memset(team, 0, size);
    team->n_threads = n_threads;
    pthread_mutex_init(&team->mutex, 0);
    pthread_cond_init(&team->phase_began, 0);
    pthread_cond_init(&team->phase_done, 0);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for Python's threads */
    while (team->n_members < n_threads - 1) {
        struct bp_member *member = &team->members[team->n_members];
        member->team = team, member->number = team->n_members + 1;
        if (pthread_create(&member->thread, 0, bp_member_runs, member)) break;
        team->n_members++;
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    return team;
}

static void bp_end_team(bp_team *team) {
    atomic_store(&team->quits, 1);
    bp_begin_phase(team, 0);
    for (int i = 0; i < team->n_members; i++) pthread_join(team->members[i].thread, 0);
    pthread_cond_destroy(&team->phase_began);
    pthread_cond_destroy(&team->phase_done);
    pthread_mutex_destroy(&team->mutex);
    free(team);
}
