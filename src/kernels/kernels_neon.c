/* kernels_neon.c — every loop compiled for NEON, which each 64-bit ARM has.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lanes_neon.h"

#include <stdbool.h>

static bool runs_here(void) { return true; }
static bool bytes_run_here(void) { return true; }

#define ISA neon
#include "kernels/family.inl.h"
