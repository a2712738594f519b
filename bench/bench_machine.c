/* bench_machine.c — what the processor can do at most: multiply-adds, dot products of integers, reading memory.
 *
 * One JSON line for one thread and one for all: GFLOP/s of fp32 multiply-adds, Gop/s of vpdpbusd and vpdpwssd (0 where there
 * are none), GB/s of reading arrays that fit each thread's first and second cache, the shared third one, and none.
 * bench_machine [threads]
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum { MAX_THREADS = 256, ATTEMPTS = 40, ROUNDS = 200000 };
static const double SECONDS_OF_READING = 0.003;

struct job {
    pthread_barrier_t *together;
    const char *isa;
    size_t bytes; /* of the array to read; 0: multiply-adds */
    int bits;     /* 8 or 16: dot products of integers */
    double rate;  /* of this thread, in thousands of millions a second */
};

/* ---- dot products of integers: 64 or 32 products, and as many additions, an instruction */

#if defined(__x86_64__)
static bool has_integers(void) { return __builtin_cpu_supports("avx512vnni"); }

typedef int i32x16 __attribute__((vector_size(64)));
#define DEFINE_SPIN(name, instruction)                                                                       \
    __attribute__((target("avx512f,avx512vnni"))) static void name(void)                                     \
    {                                                                                                        \
        i32x16 a = {0}, chain[12] = {{0}};                                                                   \
        __asm__ volatile("" : "+v"(a));                                                                      \
        for (int64_t i = 0; i < ROUNDS; i++)                                                                 \
            _Pragma("GCC unroll 12") for (int c = 0; c < 12; c++) __asm__ volatile(                          \
                instruction " %1, %1, %0" : "+v"(chain[c]) : "v"(a));                                        \
    }
DEFINE_SPIN(spin_8, "vpdpbusd")
DEFINE_SPIN(spin_16, "vpdpwssd")
#else
static bool has_integers(void) { return false; }
static void spin_8(void) {}
static void spin_16(void) {}
#endif

static double integer_rate(int bits)
{
    double best = 0;

    if (!has_integers())
        return 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        const double start = bench_now();

        if (bits == 8)
            spin_8();
        else
            spin_16();
        {
            const double rate = 2.0 * 512 / bits * 12 * ROUNDS / (bench_now() - start) / 1e9;
            best = rate > best ? rate : best;
        }
    }
    return best;
}

/* ---- reading */

/* Four registers at a time; n: bytes, a multiple of 256. */
#if defined(__aarch64__)
#define REGISTER "w"
#else
#define REGISTER "x"
#endif
#define DEFINE_READ(name, features, vector)                                                                  \
    features static void name(const void *bytes, size_t n)                                                   \
    {                                                                                                        \
        enum { EACH = sizeof(vector) };                                                                      \
        const vector *in = bytes, *end = in + n / EACH;                                                      \
        vector a = {0}, b = a, c = a, d = a;                                                                 \
        for (; in < end; in += 4) {                                                                          \
            a ^= in[0];                                                                                      \
            b ^= in[1];                                                                                      \
            c ^= in[2];                                                                                      \
            d ^= in[3];                                                                                      \
        }                                                                                                    \
        a ^= b ^ c ^ d;                                                                                      \
        __asm__ volatile("" : : REGISTER(a));                                                                \
    }
typedef int64_t i64x8 __attribute__((vector_size(64)));
typedef int64_t i64x4 __attribute__((vector_size(32)));
typedef int64_t i64x2 __attribute__((vector_size(16)));
#if defined(__x86_64__)
DEFINE_READ(read_512, __attribute__((target("avx512f"))), i64x8)
DEFINE_READ(read_256, __attribute__((target("avx2"))), i64x4)
#endif
DEFINE_READ(read_128, , i64x2)

static double read_rate(const char *isa, size_t bytes)
{
    void (*read_all)(const void *, size_t) = read_128;
    void *array = NULL;
    double best = 0;

#if defined(__x86_64__)
    read_all = strcmp(isa, "avx512") == 0 ? read_512 : strcmp(isa, "avx2") == 0 ? read_256 : read_128;
#endif
    (void)isa;
    if (posix_memalign(&array, 64, bytes) != 0)
        return 0;
    memset(array, 1, bytes);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        const double start = bench_now();
        double seconds = 0, volume = 0;

        while (seconds < SECONDS_OF_READING) {
            const size_t times = bytes < 1 << 18 ? (1 << 18) / bytes : 1;

            for (size_t i = 0; i < times; i++)
                read_all(array, bytes);
            volume += (double)(bytes * times);
            seconds = bench_now() - start;
        }
        best = volume / seconds / 1e9 > best ? volume / seconds / 1e9 : best;
    }
    free(array);
    return best;
}

/* ---- threads */

static void *measure(void *argument)
{
    struct job *job = argument;

    (void)pthread_barrier_wait(job->together);
    job->rate = job->bytes > 0 ? read_rate(job->isa, job->bytes)
                : job->bits    ? integer_rate(job->bits)
                               : bench_peak(job->isa, 32);
    return NULL;
}

/* All threads at once; the sum of their rates. */
static double together(int threads, struct job what)
{
    pthread_barrier_t barrier;
    pthread_t thread[MAX_THREADS];
    struct job job[MAX_THREADS];
    double rate = 0;

    if (pthread_barrier_init(&barrier, NULL, (unsigned)threads) != 0)
        exit(EXIT_FAILURE);
    what.together = &barrier;
    for (int t = 0; t < threads; t++) {
        job[t] = what;
        if (pthread_create(&thread[t], NULL, measure, &job[t]) != 0)
            exit(EXIT_FAILURE);
    }
    for (int t = 0; t < threads; t++) {
        (void)pthread_join(thread[t], NULL);
        rate += job[t].rate;
    }
    (void)pthread_barrier_destroy(&barrier);
    return rate;
}

static size_t cache(int name, size_t otherwise)
{
    const long bytes = sysconf(name);

    return bytes > 0 ? (size_t)bytes : otherwise;
}

static const char *best_isa(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "avx2";
#elif defined(__aarch64__)
    return "neon";
#endif
    return "scalar";
}

static void report(int threads)
{
    const char *isa = best_isa();
    const size_t l1 = cache(_SC_LEVEL1_DCACHE_SIZE, 32 << 10), l2 = cache(_SC_LEVEL2_CACHE_SIZE, 512 << 10),
                 l3 = cache(_SC_LEVEL3_CACHE_SIZE, 16 << 20), several = (size_t)threads;
    const size_t sizes[] = {l1 / 2, l2 / 2, l3 / 2 / several, l3 * 8 / several};
    static const char *const names[] = {"l1", "l2", "l3", "memory"};

    printf("{\"bench\":\"machine\",\"isa\":\"%s\",\"threads\":%d,\"fp32_gflops\":%.0f,\"int8_gops\":%.0f,",
           isa, threads, together(threads, (struct job){.isa = isa}),
           together(threads, (struct job){.isa = isa, .bits = 8}));
    printf("\"int16_gops\":%.0f", together(threads, (struct job){.isa = isa, .bits = 16}));
    for (int i = 0; i < 4; i++)
        printf(",\"read_%s_gbs\":%.0f", names[i],
               together(threads, (struct job){.isa = isa, .bytes = sizes[i] / 256 * 256}));
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = argc > 1 ? atoi(argv[1]) : (int)cores;

    threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    report(1);
    if (threads > 1)
        report(threads);
    return EXIT_SUCCESS;
}
