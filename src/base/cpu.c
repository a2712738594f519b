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

/* F16C and AVX-VNNI by CPUID: not every compiler's runtime knows their names. The ymm state they need is AVX2's. Asked
 * once: in a virtual machine the instruction takes microseconds. */
enum { ASKED = 1, F16C = 2, AVX_VNNI = 4 };
static int by_cpuid(void)
{
    static atomic_int known;
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    unsigned a, b, c, d;

    if (answer == 0) {
        answer = ASKED;
        if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0)
            answer |= F16C;
        if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4) != 0)
            answer |= AVX_VNNI;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer;
}

bool fkmi_cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && (by_cpuid() & F16C) != 0;
}

bool fkmi_cpu_has_avx_vnni(void) { return fkmi_cpu_has_avx2() && (by_cpuid() & AVX_VNNI) != 0; }

bool fkmi_cpu_has_avx512(void)
{
    return fkmi_cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool fkmi_cpu_has_avx512_vnni(void) { return fkmi_cpu_has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#else
bool fkmi_cpu_has_avx2(void) { return false; }
bool fkmi_cpu_has_avx_vnni(void) { return false; }
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
