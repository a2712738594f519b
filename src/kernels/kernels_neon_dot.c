/* kernels_neon_dot.c — every loop compiled for NEON with dot products of bytes (ARMv8.2 and later).
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lanes_neon.h"

#include <stdbool.h>

#include "base/cpu.h"

static bool runs_here(void) { return fkmi_cpu_has_neon_dot(); }
static bool bytes_run_here(void) { return true; }

#define ISA neon_dot
#include "kernels/family.inl.h"
