/* cpu.c — the processor's features as the compiler's own runtime reports them (it asks the OS about
 * registers).
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"

#include <stdatomic.h>
#include <unistd.h>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

/* F16C by CPUID: not every compiler's runtime knows its name. The ymm state it needs is AVX2's. Asked once: in a
 * virtual machine the instruction takes microseconds. */
static bool has_f16c(void)
{
    enum { NO = 1, YES };
    static atomic_int known;
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    unsigned a, b, c, d;

    if (answer == 0) {
        answer = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0 ? YES : NO;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == YES;
}

bool fkmi_cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool fkmi_cpu_has_avx512(void)
{
    return fkmi_cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool fkmi_cpu_has_avx512_vnni(void) { return fkmi_cpu_has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#else
bool fkmi_cpu_has_avx2(void) { return false; }
bool fkmi_cpu_has_avx512(void) { return false; }
bool fkmi_cpu_has_avx512_vnni(void) { return false; }
#endif

#if defined(__aarch64__) && defined(__linux__)
bool fkmi_cpu_has_neon_dot(void) { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#elif defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
bool fkmi_cpu_has_neon_dot(void) { return true; }
#else
bool fkmi_cpu_has_neon_dot(void) { return false; }
#endif

size_t fkmi_cpu_l2_bytes(void)
{
    long bytes = 0;

#if defined(_SC_LEVEL2_CACHE_SIZE)
    bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return bytes > 0 ? (size_t)bytes : (size_t)1 << 20;
}
