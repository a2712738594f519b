/* round.h — stochastic rounding to half precision.
 *
 * A prototype of great age moves by less than half a step of f16 or bf16: rounding to nearest would lose
 * every such move. Rounding up with the probability of the remainder keeps the mean right. The noise is a
 * function of key, prototype and coordinate, so it does not depend on threads. SPDX-License-Identifier:
 * Apache-2.0 */
#ifndef FKMI_PROTOTYPES_ROUND_H
#define FKMI_PROTOTYPES_ROUND_H

#include "base/dtype.h"

/* Each of n values becomes one of its two neighbours in dtype (itself where it is one). f32, f64: unchanged.
 */
void fkmi_round_randomly(fkm_dtype dtype, uint64_t key, int64_t prototype, double *values, int64_t n);

/* The same for values in these columns. */
void fkmi_round_list_randomly(fkm_dtype dtype, uint64_t key, int64_t prototype, const int32_t *column,
                              double *values, int64_t n);

#endif
