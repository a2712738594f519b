/* kernels_avx2_vnni.c — every loop compiled for AVX2, FMA, F16C and AVX-VNNI (dot products of bytes without AVX-512).
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lanes_avx2.h"

#include <stdbool.h>

#include "base/cpu.h"

static bool runs_here(void) { return fkmi_cpu_has_avx_vnni(); }
static bool bytes_run_here(void) { return true; }

#define ISA avx2_vnni
#include "kernels/family.inl.h"
