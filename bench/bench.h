/* bench.h — timing for benchmarks: medians, the processor's multiply-add peak, one JSON line per case.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_BENCH_H
#define FKM_BENCH_H

#include <stdint.h>
#include <stdlib.h>

/* Seconds of a steady clock. */
double bench_now(void);
/* Ends the program with fkm_last_error() unless status is FKM_OK. */
void bench_check(int status);

/* Times of repeated runs: `run` is called once to warm up, then `repeats` times. */
struct bench_times {
    double median, spread, least; /* seconds; spread is (largest - least) / median */
};
struct bench_times bench_times_of(double *seconds, int n); /* sorts them */
struct bench_times bench_repeat(void (*run)(void *job), void *job, int repeats);

/* GFLOP/s of multiply-adds that touch no memory, one thread, with the registers of `isa`; bits: 32 or 64. */
double bench_peak(const char *isa, int bits);

/* The same numbers in every run, about normal. */
void bench_fill(float *values, int64_t n, uint64_t seed);

#endif
