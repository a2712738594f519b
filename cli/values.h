/* values.h — single values of batches, whatever their type.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_VALUES_H
#define FKM_CLI_VALUES_H

#include <stdbool.h>

#include "fastkmeans/fastkmeans.h"

/* Element i of an array of this type. */
double value_in(const void *values, fkm_dtype dtype, int64_t i);
/* Feature j of row i of a dense batch. */
double value_of(const fkm_batch *batch, int64_t i, int64_t j);
/* Whether feature j of row i of a dense batch is there: not masked, not NaN. */
bool value_present(const fkm_batch *batch, int64_t i, int64_t j);
/* n elements from `first` on as floats, or as doubles when the type is float64. */
void values_widen(const void *values, fkm_dtype dtype, int64_t first, int64_t n, void *out);
fkm_dtype widened(fkm_dtype dtype); /* FKM_DTYPE_F32 or FKM_DTYPE_F64 */
size_t widened_size(fkm_dtype dtype);

#endif
