/* Which kernels this processor can run: by features, not by its name. */
#pragma once
#include "plan.h"

#if defined __x86_64__
extern const bp_kernels bp_kernels_v2_float, bp_kernels_v3_float, bp_kernels_v4_float;
extern const bp_kernels bp_kernels_v2_double, bp_kernels_v3_double, bp_kernels_v4_double;

static inline int bp_runs(const char *level) {
    __builtin_cpu_init();
    if (level[1] == '4')
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && bp_runs("v3");
    if (level[1] == '3') /* every processor with these has the rest of the level: f16c, lzcnt, movbe */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("bmi2") && bp_runs("v2");
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
static const bp_kernels *const bp_all_kernels[] = {
    &bp_kernels_v4_float, &bp_kernels_v4_double, &bp_kernels_v3_float,
    &bp_kernels_v3_double, &bp_kernels_v2_float, &bp_kernels_v2_double, 0};
#else
extern const bp_kernels bp_kernels_base_float, bp_kernels_base_double;
static inline int bp_runs(const char *level) { (void)level; return 1; }
static const bp_kernels *const bp_all_kernels[] = {&bp_kernels_base_float, &bp_kernels_base_double, 0};
#endif
