/* test_random.c — published vectors of the cipher; distributions; streams that do not depend on each other.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include "support/test.h"

/* Known answers of Random123 (kat_vectors, philox4x32 10). */
TEST(philox_gives_the_published_numbers)
{
    static const struct {
        uint64_t key, high, low;
        uint32_t expected[4];
    } known[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822,
         0x0370734413198a2e,
         0x85a308d3243f6a88,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];

        fkmi_philox(known[i].key, known[i].high, known[i].low, out);
        for (int j = 0; j < 4; j++)
            CHECK_INT(known[i].expected[j], out[j]);
    }
}

TEST(a_stream_repeats_from_its_seed_and_from_a_copy)
{
    struct fkmi_random a = fkmi_random_from(42), b = fkmi_random_from(42), c;

    for (int i = 0; i < 10; i++)
        CHECK(fkmi_random_u64(&a) == fkmi_random_u64(&b));
    c = a;
    for (int i = 0; i < 10; i++)
        CHECK(fkmi_random_u64(&a) == fkmi_random_u64(&c));
    b = fkmi_random_from(43);
    CHECK(fkmi_random_u64(&a) != fkmi_random_u64(&b));
}

TEST(sub_streams_differ_and_leave_the_parent_where_it_was)
{
    struct fkmi_random parent = fkmi_random_from(7), twin = parent;
    uint64_t first[100];

    for (uint64_t name = 0; name < 100; name++) {
        struct fkmi_random child = fkmi_random_split(parent, name), again = fkmi_random_split(parent, name);

        first[name] = fkmi_random_u64(&child);
        CHECK(first[name] == fkmi_random_u64(&again));
        for (uint64_t other = 0; other < name; other++)
            CHECK(first[other] != first[name]);
    }
    CHECK(fkmi_random_u64(&parent) == fkmi_random_u64(&twin));
}

TEST(uniform_numbers_fill_the_unit_interval_evenly)
{
    enum { N = 200000, BINS = 50 };
    struct fkmi_random random = fkmi_random_from(1);
    double sum = 0, chi = 0;
    int bins[BINS] = {0};

    for (int i = 0; i < N; i++) {
        const double u = fkmi_random_uniform(&random);

        CHECK(u >= 0 && u < 1);
        sum += u;
        bins[(int)(u * BINS)]++;
    }
    CHECK_NEAR(0.5, sum / N, 4 * 0.2887 / sqrt((double)N));
    for (int i = 0; i < BINS; i++) {
        const double expected = (double)N / BINS;

        chi += (bins[i] - expected) * (bins[i] - expected) / expected;
    }
    CHECK(chi < 94); /* 49 degrees of freedom, p = 0.0001 */
}

TEST(whole_numbers_are_unbiased)
{
    enum { N = 60000 };
    struct fkmi_random random = fkmi_random_from(2);
    const int64_t large = (int64_t)3 << 61; /* 3/4 of the range: taking remainders alone would show */
    int bins[6] = {0}, low = 0;

    for (int i = 0; i < N; i++) {
        const int64_t die = fkmi_random_below(&random, 6), number = fkmi_random_below(&random, large);

        CHECK(die >= 0 && die < 6);
        bins[die]++;
        CHECK(number >= 0 && number < large);
        low += number < large / 3;
    }
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(N / 6, bins[i], 4 * sqrt(N * 5.0 / 36));
    CHECK_NEAR(N / 3, low, 4 * sqrt(N * 2.0 / 9));
    CHECK_INT(0, fkmi_random_below(&random, 1));
}

TEST(normal_numbers_have_the_moments_of_a_gaussian)
{
    enum { N = 200000 };
    struct fkmi_random random = fkmi_random_from(3);
    double sums[5] = {0}, within = 0;

    for (int i = 0; i < N; i++) {
        const double z = fkmi_random_normal(&random);
        double power = 1;

        for (int p = 1; p <= 4; p++)
            sums[p] += power *= z;
        within += fabs(z) < 1;
    }
    CHECK_NEAR(0, sums[1] / N, 4 / sqrt((double)N));
    CHECK_NEAR(1, sums[2] / N, 4 * sqrt(2.0 / N));
    CHECK_NEAR(0, sums[3] / N, 4 * sqrt(15.0 / N));
    CHECK_NEAR(3, sums[4] / N, 4 * sqrt(96.0 / N));
    CHECK_NEAR(0.682689, within / N, 4 * sqrt(0.2166 / N));
}

TEST(shuffling_permutes_and_reaches_every_order)
{
    int counts[6] = {0};

    for (uint64_t seed = 0; seed < 6000; seed++) {
        struct fkmi_random random = fkmi_random_from(seed);
        int64_t items[3] = {0, 1, 2};

        fkmi_random_shuffle(&random, items, 3);
        CHECK_INT(3, items[0] + items[1] + items[2]);
        CHECK_INT(5, items[0] * items[0] + items[1] * items[1] + items[2] * items[2]);
        counts[items[0] * 2 + (items[1] > items[2])]++;
    }
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(1000, counts[i], 4 * sqrt(6000 * 5.0 / 36));
}
