/* test_context.c — contexts: what they accept, and the memory they keep between calls.
 * SPDX-License-Identifier: Apache-2.0 */
#include "backends/backend.h"
#include "support/test.h"

TEST(a_context_has_the_threads_it_was_asked_for)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context;

    CHECK_OK(fkm_context_create(NULL, &context));
    CHECK(fkm_context_threads(context) >= 1);
    fkm_context_free(context);
    options.n_threads = 3;
    options.device = "cpu";
    CHECK_OK(fkm_context_create(&options, &context));
    CHECK_INT(3, fkm_context_threads(context));
    CHECK_TEXT("cpu", context->backend->name);
    CHECK_TEXT(fkm_isa(), context->kernels->isa);
    fkm_context_free(context);
    fkm_context_free(NULL);
    CHECK_INT(0, fkm_context_threads(NULL));
}

TEST(what_a_context_cannot_have_is_named)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context = (fkm_context *)&options;

    options.device = "cuda:1";
    CHECK_STATUS(FKM_EUNSUPPORTED, fkm_context_create(&options, &context));
    CHECK_SAYS("this build has no CUDA backend", fkm_last_error());
    CHECK(context == NULL);
    options.device = "tpu";
    CHECK_STATUS(FKM_EINVAL, fkm_context_create(&options, &context));
    CHECK_SAYS("tpu", fkm_last_error());
    options.device = NULL;
    options.n_threads = -2;
    CHECK_STATUS(FKM_EINVAL, fkm_context_create(&options, &context));
    CHECK_SAYS("-2", fkm_last_error());
    options.n_threads = 1;
    options.struct_size = 3;
    CHECK_STATUS(FKM_EINVAL, fkm_context_create(&options, &context));
    CHECK_STATUS(FKM_EINVAL, fkm_context_create(NULL, NULL));
}

TEST(failing_to_create_leaves_nothing_behind)
{
    const size_t held = fkmi_memory_held();
    fkm_context *context = NULL;
    fkm_status status = FKM_ENOMEM;

    for (int64_t n = 1; status == FKM_ENOMEM && n < 20; n++) {
        (void)fkmi_memory_fail(n, 0);
        status = fkm_context_create(NULL, &context);
        (void)fkmi_memory_fail(0, 0);
        if (status == FKM_ENOMEM) {
            CHECK(context == NULL);
            CHECK_INT(held, fkmi_memory_held());
        }
    }
    CHECK_INT(FKM_OK, status);
    fkm_context_free(context);
    CHECK_INT(held, fkmi_memory_held());
}

TEST(the_memory_limit_is_the_options)
{
    fkm_context_options options = FKM_CONTEXT_OPTIONS_INIT;
    fkm_context *context;
    void *memory = NULL;

    options.memory_limit = 1 << 20;
    CHECK_OK(fkm_context_create(&options, &context));
    CHECK_STATUS(FKM_ENOMEM, fkmi_scratch_take(context, (size_t)2 << 20, &memory));
    fkm_context_free(context);
    options.memory_limit = 0;
    CHECK_OK(fkm_context_create(&options, &context));
    CHECK_OK(fkmi_scratch_take(context, (size_t)2 << 20, &memory));
    fkmi_scratch_give(context, memory);
    fkm_context_free(context);
}

TEST(scratch_memory_is_used_again)
{
    const size_t held = fkmi_memory_held();
    fkm_context *context;
    void *block[12], *again;

    CHECK_OK(fkm_context_create(NULL, &context));
    for (size_t i = 0; i < 12; i++) {
        CHECK_OK(fkmi_scratch_take(context, 1000 * (i + 1), &block[i]));
        CHECK_INT(0, (uintptr_t)block[i] % 64);
        memset(block[i], 1, 1000 * (i + 1));
    }
    for (size_t i = 0; i < 12; i++)
        fkmi_scratch_give(context, block[i]);
    (void)fkmi_memory_fail(0, 0);
    CHECK_OK(fkmi_scratch_take(context, 9500, &again)); /* the smallest that fits of the three kept */
    CHECK(again == block[9]);
    fkmi_scratch_give(context, again);
    CHECK_INT(0, fkmi_memory_fail(0, 0));
    fkmi_scratch_give(context, NULL);
    CHECK_OK(fkmi_scratch_take(context, 100000, &again));
    CHECK_INT(1, fkmi_memory_fail(0, 0));
    fkmi_scratch_give(context, again);
    fkm_context_free(context);
    CHECK_INT(held, fkmi_memory_held());
}

TEST(a_large_block_is_not_spent_on_little)
{
    fkm_context *context;
    void *large, *little, *again;

    CHECK_OK(fkm_context_create(NULL, &context));
    CHECK_OK(fkmi_scratch_take(context, 1 << 20, &large));
    fkmi_scratch_give(context, large);
    CHECK_OK(fkmi_scratch_take(context, 1000, &little));
    CHECK(little != large);
    CHECK_OK(fkmi_scratch_take(context, 600000, &again));
    CHECK(again == large);
    fkmi_scratch_give(context, little);
    fkmi_scratch_give(context, again);
    CHECK_OK(fkmi_scratch_take(context, 999, &again));
    CHECK(again == little);
    fkmi_scratch_give(context, again);
    fkm_context_free(context);
}

TEST(scratch_memory_that_is_too_small_or_trimmed_goes)
{
    fkm_context *context;
    void *small, *large;
    size_t held;

    CHECK_OK(fkm_context_create(NULL, &context));
    held = fkmi_memory_held();
    CHECK_OK(fkmi_scratch_take(context, 50000, &small));
    fkmi_scratch_give(context, small);
    CHECK(fkmi_memory_held() >= held + 50000);
    CHECK_OK(fkmi_scratch_take(context, 60000, &large));
    CHECK(fkmi_memory_held() < held + 110000);
    fkmi_scratch_give(context, large);
    fkmi_scratch_trim(context);
    CHECK_INT(held, fkmi_memory_held());
    fkm_context_free(context);
}
