/* test_memory.c — blocks are zero, aligned, counted, limited, and fail on demand; arenas reuse what they
 * hold.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include "support/test.h"

static bool all_zero(const void *block, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (((const unsigned char *)block)[i] != 0)
            return false;
    return true;
}

TEST(blocks_are_zero_aligned_and_given_back)
{
    static const int64_t sizes[] = {0, 1, 63, 64, 65, 4096, 1 << 20, (1 << 20) + 1, 5 << 20};
    const size_t before = fkmi_memory_held();

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int round = 0; round < 2; round++) { /* the second round meets memory that was used */
            unsigned char *block;

            CHECK_OK(fkmi_alloc(&block, sizes[i], 1));
            CHECK(block);
            CHECK_INT(0, (uintptr_t)block % 64);
            CHECK(all_zero(block, 0, (size_t)sizes[i]));
            CHECK(fkmi_memory_held() >= before + (size_t)sizes[i]);
            memset(block, 0xff, (size_t)sizes[i]);
            fkmi_free(block);
            CHECK_INT(before, fkmi_memory_held());
        }
    fkmi_free(NULL);
    fkm_free(NULL);
}

TEST(sizes_that_overflow_are_refused)
{
    void *block = &block;

    CHECK_STATUS(FKM_ENOMEM, fkmi_alloc(&block, INT64_MAX, 8));
    CHECK(!block);
    CHECK_STATUS(FKM_ENOMEM, fkmi_alloc(&block, -1, 8));
    CHECK_STATUS(FKM_ENOMEM, fkmi_alloc(&block, INT64_MAX, 1));
    CHECK_STATUS(FKM_ENOMEM, fkmi_alloc(&block, 2, SIZE_MAX / 2 + 1));
    CHECK_SAYS("more than memory can hold", fkm_last_error());
}

TEST(resizing_keeps_the_content_and_zeroes_the_rest)
{
    static const int64_t counts[] = {3, 1000, 400000, 500, 500, 0, 7};
    const size_t before = fkmi_memory_held();
    int32_t *block = NULL;
    int64_t kept = 0;

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        CHECK_OK(fkmi_resize(&block, counts[i], sizeof *block));
        kept = kept < counts[i] ? kept : counts[i];
        for (int64_t j = 0; j < kept; j++)
            CHECK_INT(j + 1, block[j]);
        CHECK(all_zero(block, (size_t)kept * sizeof *block, (size_t)counts[i] * sizeof *block));
        for (int64_t j = 0; j < counts[i]; j++)
            block[j] = (int32_t)j + 1;
        kept = counts[i];
    }
    fkmi_free(block);
    CHECK_INT(before, fkmi_memory_held());
}

TEST(a_failed_resize_changes_nothing)
{
    int32_t *block, *same;

    CHECK_OK(fkmi_alloc(&block, 4, sizeof *block));
    block[3] = 9;
    same = block;
    CHECK_STATUS(FKM_ENOMEM, fkmi_resize(&block, INT64_MAX, sizeof *block));
    CHECK(block == same);
    fkmi_memory_fail(1, 0);
    CHECK_STATUS(FKM_ENOMEM, fkmi_resize(&block, 8, sizeof *block));
    fkmi_memory_fail(0, 0);
    CHECK(block == same);
    CHECK_INT(9, block[3]);
    fkmi_free(block);
}

TEST(the_peak_is_the_most_that_was_held)
{
    void *a, *b;
    size_t before;

    fkmi_memory_reset_peak();
    before = fkmi_memory_held();
    CHECK_OK(fkmi_alloc(&a, 1 << 20, 1));
    CHECK_OK(fkmi_alloc(&b, 1 << 21, 1));
    fkmi_free(a);
    fkmi_free(b);
    CHECK(fkmi_memory_peak() >= before + (3u << 20));
    CHECK(fkmi_memory_peak() < before + (3u << 20) + 4096);
    fkmi_memory_reset_peak();
    CHECK_INT(before, fkmi_memory_peak());
}

TEST(the_limit_holds)
{
    void *a, *b;

    fkmi_memory_set_limit(fkmi_memory_held() + 100000);
    CHECK_OK(fkmi_alloc(&a, 60000, 1));
    CHECK_STATUS(FKM_ENOMEM, fkmi_alloc(&b, 60000, 1));
    CHECK(!b);
    CHECK_SAYS("memory limit", fkm_last_error());
    fkmi_free(a);
    CHECK_OK(fkmi_alloc(&b, 60000, 1));
    fkmi_free(b);
    fkmi_memory_set_limit(0);
    CHECK_OK(fkmi_alloc(&a, 1000000, 1));
    fkmi_free(a);
}

TEST(the_nth_allocation_fails_when_told)
{
    void *block;

    fkmi_memory_fail(3, 0);
    for (int i = 1; i <= 5; i++) {
        CHECK_STATUS(i == 3 ? FKM_ENOMEM : FKM_OK, fkmi_alloc(&block, 1, 1));
        fkmi_free(block);
    }
    CHECK_INT(5, fkmi_memory_fail(2, 1));
    for (int i = 1; i <= 4; i++) {
        CHECK_STATUS(i >= 2 ? FKM_ENOMEM : FKM_OK, fkmi_alloc(&block, 1, 1));
        fkmi_free(block);
    }
    CHECK_INT(4, fkmi_memory_fail(0, 0));
    CHECK_OK(fkmi_alloc(&block, 1, 1));
    fkmi_free(block);
    CHECK_INT(1, fkmi_memory_fail(0, 0)); /* asks count even when off */
}

TEST(copies_and_formatted_text)
{
    const int16_t source[] = {1, -2, 3};
    int16_t *copy = NULL;
    char *text = NULL;

    CHECK_OK(fkmi_copy(&copy, source, 3, sizeof *copy));
    CHECK(memcmp(copy, source, sizeof source) == 0);
    fkmi_free(copy);
    CHECK_OK(fkmi_copy(&copy, NULL, 3, sizeof *copy));
    CHECK(!copy);
    CHECK_OK(fkmi_format(&text, "%s.%d", "model", 7));
    CHECK_TEXT("model.7", text);
    fkmi_free(text);
}

TEST(an_arena_allocates_nothing_in_its_second_round)
{
    static const int64_t counts[] = {1, 100, 0, 70000, 33, 200000, 5, 64};
    enum { N = sizeof counts / sizeof *counts };
    struct fkmi_arena arena = FKMI_ARENA_INIT;
    const size_t before = fkmi_memory_held();
    unsigned char *first[N], *block;

    for (int round = 0; round < 3; round++) {
        fkmi_memory_fail(0, 0);
        for (int i = 0; i < N; i++) {
            CHECK_OK(fkmi_arena_take(&arena, &block, counts[i], 3));
            CHECK_INT(0, (uintptr_t)block % 64);
            CHECK(all_zero(block, 0, (size_t)counts[i] * 3));
            memset(block, 0xee, (size_t)counts[i] * 3);
            if (round == 0)
                first[i] = block;
            CHECK(first[i] == block);
            for (int j = 0; j < i; j++)
                CHECK(first[j] != block);
        }
        if (round > 0)
            CHECK_INT(0, fkmi_memory_fail(0, 0));
        fkmi_arena_reset(&arena);
    }
    CHECK_STATUS(FKM_ENOMEM, fkmi_arena_take(&arena, &block, INT64_MAX, 8));
    CHECK(!block);
    fkmi_arena_free(&arena);
    CHECK_INT(before, fkmi_memory_held());
    fkmi_arena_free(&arena); /* an empty arena is fine */
}

/* Rounds that need a little more each time do not pile up blocks that are too small. */
TEST(an_arena_that_grows_slowly_allocates_seldom_and_holds_little)
{
    enum { FIRST = 100000, STEP = 100, ROUNDS = 400 };
    struct fkmi_arena arena = FKMI_ARENA_INIT;
    const size_t before = fkmi_memory_held();
    int64_t allocations = 0;

    for (int64_t round = 0; round < ROUNDS; round++) {
        const int64_t count = FIRST + STEP * round;
        unsigned char *a, *b;

        fkmi_memory_fail(0, 0);
        CHECK_OK(fkmi_arena_take(&arena, &a, count, 1));
        CHECK_OK(fkmi_arena_take(&arena, &b, count, 2));
        CHECK(a + count <= b || b + 2 * count <= a);
        CHECK(all_zero(a, 0, (size_t)count) && all_zero(b, 0, (size_t)(2 * count)));
        memset(a, 0xee, (size_t)count);
        memset(b, 0xee, (size_t)(2 * count));
        allocations += fkmi_memory_fail(0, 0);
        CHECK(fkmi_memory_held() - before < 3 * 3 * (size_t)count);
        fkmi_arena_reset(&arena);
    }
    CHECK(allocations < 30);
    fkmi_arena_free(&arena);
    CHECK_INT(before, fkmi_memory_held());
}

/* After a large round the next one asks for one block with room to grow: where that is too much, what it needs will do. */
TEST(an_arena_goes_on_after_a_round_that_filled_memory)
{
    struct fkmi_arena arena = FKMI_ARENA_INIT;
    unsigned char *block;

    fkmi_memory_set_limit(fkmi_memory_held() + (7 << 20));
    CHECK_OK(fkmi_arena_take(&arena, &block, 1 << 18, 1));
    fkmi_arena_reset(&arena);
    CHECK_OK(fkmi_arena_take(&arena, &block, 1 << 18, 1));
    CHECK_OK(fkmi_arena_take(&arena, &block, 6 << 20, 1));
    for (int round = 0; round < 3; round++) {
        fkmi_arena_reset(&arena);
        CHECK_OK(fkmi_arena_take(&arena, &block, 1 << 10, 1));
    }
    fkmi_memory_set_limit(0);
    fkmi_arena_free(&arena);
}

TEST(blocks_of_an_arena_do_not_overlap)
{
    struct fkmi_arena arena = FKMI_ARENA_INIT;
    unsigned char *blocks[300];

    for (int i = 0; i < 300; i++) {
        CHECK_OK(fkmi_arena_take(&arena, &blocks[i], 1 + i * 7, 1));
        memset(blocks[i], i & 0xff, (size_t)(1 + i * 7));
    }
    for (int i = 0; i < 300; i++)
        for (int j = 0; j < 1 + i * 7; j++)
            CHECK_INT(i & 0xff, blocks[i][j]);
    fkmi_arena_free(&arena);
}
