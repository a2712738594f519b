/* bench.c — what the benchmarks share.
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fastkmeans/fastkmeans.h"

double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void bench_check(int status)
{
    if (status == FKM_OK)
        return;
    fprintf(stderr, "%s: %s\n", fkm_status_name((fkm_status)status), fkm_last_error());
    exit(EXIT_FAILURE);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct bench_times bench_times_of(double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    return (struct bench_times){seconds[n / 2], (seconds[n - 1] - seconds[0]) / seconds[n / 2], seconds[0]};
}

struct bench_times bench_repeat(void (*run)(void *job), void *job, int repeats)
{
    double seconds[101];

    repeats = repeats < 1 ? 1 : repeats > 101 ? 101 : repeats;
    run(job);
    for (int i = 0; i < repeats; i++) {
        const double start = bench_now();

        run(job);
        seconds[i] = bench_now() - start;
    }
    return bench_times_of(seconds, repeats);
}

/* Twelve independent chains keep every multiply-add unit busy. The barrier makes each chain a vector register that the
 * compiler may not reason about. */
#if defined(__x86_64__)
#define IN_REGISTER(value) __asm__ volatile("" : "+x"(value))
#elif defined(__aarch64__)
#define IN_REGISTER(value) __asm__ volatile("" : "+w"(value))
#else
#define IN_REGISTER(value) __asm__ volatile("" : "+m"(value)) /* through memory: a rate too low, but one */
#endif
#define DEFINE_SPIN(name, features, vector)                                                                  \
    features static void name(int64_t rounds)                                                                \
    {                                                                                                        \
        vector a = {0}, chain[12] = {{0}};                                                                   \
        IN_REGISTER(a);                                                                                      \
        for (int64_t i = 0; i < rounds; i++)                                                                 \
            _Pragma("GCC unroll 12") for (int c = 0; c < 12; c++)                                            \
            {                                                                                                \
                chain[c] = chain[c] * a + a;                                                                 \
                IN_REGISTER(chain[c]);                                                                       \
            }                                                                                                \
    }
typedef float f32x16 __attribute__((vector_size(64)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef double f64x8 __attribute__((vector_size(64)));
typedef double f64x4 __attribute__((vector_size(32)));
typedef double f64x2 __attribute__((vector_size(16)));
#define FUSED __attribute__((optimize("fp-contract=fast")))
#if defined(__x86_64__)
DEFINE_SPIN(spin_f32x16, __attribute__((target("avx512f"))) FUSED, f32x16)
DEFINE_SPIN(spin_f64x8, __attribute__((target("avx512f"))) FUSED, f64x8)
DEFINE_SPIN(spin_f32x8, __attribute__((target("avx2,fma"))) FUSED, f32x8)
DEFINE_SPIN(spin_f64x4, __attribute__((target("avx2,fma"))) FUSED, f64x4)
#endif
DEFINE_SPIN(spin_f32x4, FUSED, f32x4)
DEFINE_SPIN(spin_f64x2, FUSED, f64x2)

double bench_peak(const char *isa, int bits)
{
    void (*spin)(int64_t) = bits == 64 ? spin_f64x2 : spin_f32x4;
    int lanes = bits == 64 ? 2 : 4;
    double best = 0;

#if defined(__x86_64__)
    if (strcmp(isa, "avx512") == 0) {
        spin = bits == 64 ? spin_f64x8 : spin_f32x16;
        lanes = bits == 64 ? 8 : 16;
    } else if (strncmp(isa, "avx2", 4) == 0) {
        spin = bits == 64 ? spin_f64x4 : spin_f32x8;
        lanes = bits == 64 ? 4 : 8;
    }
#else
    (void)isa;
#endif
    for (int attempt = 0; attempt < 7; attempt++) {
        const int64_t rounds = 1000000;
        const double start = bench_now();

        spin(rounds);
        {
            const double rate = 2.0 * 12 * lanes * (double)rounds / (bench_now() - start) / 1e9;
            best = rate > best ? rate : best;
        }
    }
    return best;
}

void bench_fill(float *values, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        float sum = 0;

        for (int j = 0; j < 4; j++) { /* xorshift; four uniforms are normal enough */
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            sum += (float)(seed >> 40) * 0x1p-24f;
        }
        values[i] = (sum - 2) * 1.7f;
    }
}
