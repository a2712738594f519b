/* kernels_avx512.c — every loop compiled for AVX-512 (F, BW, DQ, VL).
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lanes_avx512.h"

#include <stdbool.h>

#include "base/cpu.h"

static bool runs_here(void) { return fkmi_cpu_has_avx512(); }
static bool bytes_run_here(void) { return fkmi_cpu_has_avx512_vnni(); }

#define ISA avx512
#include "kernels/family.inl.h"
