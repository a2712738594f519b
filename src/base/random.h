/* random.h — counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): a number is a function of a key
 * and a counter, so it never depends on who asks first.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_RANDOM_H
#define FKMI_BASE_RANDOM_H

#include <stdint.h>

/* A stream of numbers: copy it to fork it at the same place; derive sub-streams with fkmi_random_split. */
struct fkmi_random {
    uint64_t key, counter;
};
struct fkmi_random fkmi_random_from(uint64_t seed);
/* An independent stream for purpose `name` (any number, e.g. an epoch or a class): a function of the parent's
 * key, its counter and the name. The parent does not move. */
struct fkmi_random fkmi_random_split(struct fkmi_random parent, uint64_t name);
uint64_t fkmi_random_u64(struct fkmi_random *random);
double fkmi_random_uniform(struct fkmi_random *random);           /* [0, 1), 53 bits */
int64_t fkmi_random_below(struct fkmi_random *random, int64_t n); /* [0, n), unbiased; n >= 1 */
double fkmi_random_normal(struct fkmi_random *random);            /* N(0, 1) */
void fkmi_random_shuffle(struct fkmi_random *random, int64_t *items, int64_t n); /* Fisher-Yates */
/* The same four words for the same key and counter: for noise addressed by (row, column). */
void fkmi_philox(uint64_t key, uint64_t counter_high, uint64_t counter_low, uint32_t out[4]);

#endif
