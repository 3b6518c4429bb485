/* Of the machine: the clock, and how denormals are treated. */
#pragma once
#include <time.h>

/* Denormals flushed to zero while kernels run (denormal moments of Adam cost twice the time), then as before. */
#if defined __x86_64__
#include <immintrin.h>
static inline unsigned bp_flush_denormals(void) {
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
static inline void bp_restore_denormals(unsigned before) { _mm_setcsr(before); }
#else
static inline unsigned bp_flush_denormals(void) { return 0; }
static inline void bp_restore_denormals(unsigned before) { (void)before; }
#endif

static inline double bp_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
