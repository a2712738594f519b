/* kernels_avx2.c — every loop compiled for AVX2, FMA and F16C.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lanes_avx2.h"

#include <stdbool.h>

#include "base/cpu.h"

static bool runs_here(void) { return fkmi_cpu_has_avx2(); }
static bool bytes_run_here(void) { return true; }

#define ISA avx2
#include "kernels/family.inl.h"
