/* dispatch.c — the one place that chooses an instruction set.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
extern const struct fkmi_kernels fkmi_kernels_avx512, fkmi_kernels_avx2;
#if defined(FKMI_AVX2_VNNI)
extern const struct fkmi_kernels fkmi_kernels_avx2_vnni;
#endif
#elif defined(__aarch64__)
extern const struct fkmi_kernels fkmi_kernels_neon_dot, fkmi_kernels_neon;
#endif
extern const struct fkmi_kernels fkmi_kernels_scalar;

/* Best first. */
static const struct fkmi_kernels *const candidates[] = {
#if defined(__x86_64__)
    &fkmi_kernels_avx512,
#if defined(FKMI_AVX2_VNNI)
    &fkmi_kernels_avx2_vnni,
#endif
    &fkmi_kernels_avx2,
#elif defined(__aarch64__)
    &fkmi_kernels_neon_dot,
    &fkmi_kernels_neon,
#endif
    &fkmi_kernels_scalar,
};
enum { N_CANDIDATES = sizeof candidates / sizeof *candidates };

static const struct fkmi_kernels *chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    const char *wanted = getenv("FKM_ISA"); /* what this build or processor lacks is ignored */

    for (int i = N_CANDIDATES - 1; i >= 0; i--) /* the best comes last and stays */
        if (candidates[i]->runs_here())
            chosen = candidates[i];
    for (int i = 0; wanted && i < N_CANDIDATES; i++)
        if (strcmp(candidates[i]->isa, wanted) == 0 && candidates[i]->runs_here())
            chosen = candidates[i];
}

const struct fkmi_kernels *fkmi_kernels_best(void)
{
    pthread_once(&chosen_once, choose);
    return chosen;
}

int fkmi_kernels_all(const struct fkmi_kernels **tables, int capacity)
{
    int n = 0;

    for (int i = 0; i < N_CANDIDATES && n < capacity; i++)
        if (candidates[i]->runs_here())
            tables[n++] = candidates[i];
    return n;
}

const char *fkm_isa(void) { return fkmi_kernels_best()->isa; }
