/* random.c — Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
 * 2011).
 *
 * A draw takes one block of the cipher: number n of a stream is a function of the stream's key and n alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <assert.h>
#include <math.h>

#define ROUNDS     10
#define MULTIPLY_0 0xd2511f53u
#define MULTIPLY_1 0xcd9e8d57u
#define WEYL_0     0x9e3779b9u         /* golden ratio */
#define WEYL_1     0xbb67ae85u         /* sqrt(3) - 1 */
#define SPLITS     0xa0761d6478bd642fu /* keys of sub-streams are no numbers of the stream */

void fkmi_philox(uint64_t key, uint64_t counter_high, uint64_t counter_low, uint32_t out[4])
{
    uint32_t key_0 = (uint32_t)key, key_1 = (uint32_t)(key >> 32);
    uint32_t word_0 = (uint32_t)counter_low, word_1 = (uint32_t)(counter_low >> 32);
    uint32_t word_2 = (uint32_t)counter_high, word_3 = (uint32_t)(counter_high >> 32);

    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t product_0 = (uint64_t)MULTIPLY_0 * word_0, product_1 = (uint64_t)MULTIPLY_1 * word_2;

        word_0 = (uint32_t)(product_1 >> 32) ^ word_1 ^ key_0;
        word_1 = (uint32_t)product_1;
        word_2 = (uint32_t)(product_0 >> 32) ^ word_3 ^ key_1;
        word_3 = (uint32_t)product_0;
        key_0 += WEYL_0;
        key_1 += WEYL_1;
    }
    out[0] = word_0;
    out[1] = word_1;
    out[2] = word_2;
    out[3] = word_3;
}

static uint64_t join(const uint32_t words[2]) { return (uint64_t)words[1] << 32 | words[0]; }
static double unit_interval(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

struct fkmi_random fkmi_random_from(uint64_t seed) { return (struct fkmi_random){.key = seed, .counter = 0}; }

struct fkmi_random fkmi_random_split(struct fkmi_random parent, uint64_t name)
{
    uint32_t words[4];

    fkmi_philox(parent.key ^ SPLITS, name, parent.counter, words);
    return (struct fkmi_random){.key = join(words), .counter = 0};
}

uint64_t fkmi_random_u64(struct fkmi_random *random)
{
    uint32_t words[4];

    fkmi_philox(random->key, 0, random->counter++, words);
    return join(words);
}

double fkmi_random_uniform(struct fkmi_random *random) { return unit_interval(fkmi_random_u64(random)); }

int64_t fkmi_random_below(struct fkmi_random *random, int64_t n)
{
    const uint64_t range = (uint64_t)n;
    uint64_t unused, number;

    assert(n >= 1);
    unused = (UINT64_MAX % range + 1) % range; /* numbers above the last whole multiple of n */
    do
        number = fkmi_random_u64(random);
    while (number > UINT64_MAX - unused);
    return (int64_t)(number % range);
}

/* Box and Muller 1958; both uniforms come from one block. */
double fkmi_random_normal(struct fkmi_random *random)
{
    const double two_pi = 6.283185307179586476925287;
    uint32_t words[4];
    double radius, angle;

    fkmi_philox(random->key, 0, random->counter++, words);
    radius = sqrt(-2.0 * log(1.0 - unit_interval(join(words)))); /* (0, 1] */
    angle = two_pi * unit_interval(join(words + 2));
    return radius * cos(angle);
}

void fkmi_random_shuffle(struct fkmi_random *random, int64_t *items, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t j = fkmi_random_below(random, i + 1), item = items[i];

        items[i] = items[j];
        items[j] = item;
    }
}
