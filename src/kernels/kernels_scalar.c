/* kernels_scalar.c — every loop for any processor; gcc turns its 128-bit vectors into what the target has.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/lanes_scalar.h"

#include <stdbool.h>

static bool runs_here(void) { return true; }
static bool bytes_run_here(void) { return true; }

#define ISA scalar
#include "kernels/family.inl.h"
