/* test_model_file.c — the model file: what is written is what is read, damage is refused, and a model that went through a
 * file goes on bit for bit as if it had not.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/data.h"

static fkm_model *fitted(fkm_task task, const struct data *data, fkm_dtype dtype)
{
    fkm_params params = data_params(task);
    const fkm_batch batch = data_batch(data, task, 0, data->n);
    fkm_model *model;

    params.dtype = dtype;
    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    return model;
}

static fkm_model *through_a_file(fkm_model *model)
{
    struct bytes bytes = model_bytes(model);
    fkm_model *copy;

    fkm_model_free(model);
    CHECK_OK(fkm_model_from_bytes(context_of(2), bytes.data, bytes.size, &copy));
    fkm_free(bytes.data);
    return copy;
}

static char *scratch_path(const char *name)
{
    static char path[512];
    const char *folder = getenv("TMPDIR");

    snprintf(path, sizeof path, "%s/fkm-test-%ld-%s", folder ? folder : "/tmp", (long)getpid(), name);
    return path;
}

static bool exists(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0;
}

/* Phase 1 batches, gradient steps, freezing, more of both. */
static void learn_on(fkm_model **model, const struct data *data, fkm_task task, bool with_files)
{
    for (int step = 0; step < 6; step++) {
        fkm_batch batch = data_batch(data, task, (step % 3) * 60, 60);
        if (step == 4)
            batch.mask = data->mask + (step % 3) * 60 * data->dim;
        if (step % 3 == 2)
            CHECK_OK(fkm_model_gradient_step(*model, &batch, NULL));
        else
            CHECK_OK(fkm_model_fit_batch(*model, &batch, NULL));
        if (step % 3 == 2)
            CHECK_OK(fkm_model_gradient_step(*model, &batch, NULL));
        if (with_files)
            *model = through_a_file(*model);
    }
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    const fkm_batch all = data_batch(data, task, 0, data->n);
    options.epochs = 2;
    CHECK_OK(fkm_model_finetune(*model, &all, &options));
    if (with_files)
        *model = through_a_file(*model);
    CHECK_OK(fkm_model_finetune(*model, &all, &options));
}

TEST(a_model_that_went_through_files_goes_on_bit_for_bit)
{
    struct data data = data_make(180, 5, 3, 30);
    const fkm_dtype dtypes[] = {FKM_DTYPE_F32, FKM_DTYPE_F16, FKM_DTYPE_BF16, FKM_DTYPE_F64};

    for (int t = 0; t < 4; t++)
        for (int d = 0; d < 4; d++) {
            fkm_params params = data_params(data_tasks[t]);
            fkm_model *plain, *filed;
            params.dtype = dtypes[d];
            params.l2_reg = 0.01;
            params.noise = 0.05;
            params.auto_feature_weights = d == 0;
            params.prototype_scale = d == 3;
            CHECK_OK(fkm_model_create(context_of(2), &params, &plain));
            CHECK_OK(fkm_model_copy(plain, &filed));
            learn_on(&plain, &data, data_tasks[t], false);
            learn_on(&filed, &data, data_tasks[t], true);
            CHECK_SAME_BYTES(model_bytes(plain), model_bytes(filed));
            fkm_model_free(plain);
            fkm_model_free(filed);
        }
    data_free(&data);
}

TEST(a_copy_is_the_same_model_and_lives_alone)
{
    struct data data = data_make(180, 5, 3, 31);
    const fkm_batch batch = data_batch(&data, FKM_TASK_REGRESS, 0, data.n);
    fkm_model *model = fitted(FKM_TASK_REGRESS, &data, FKM_DTYPE_F32), *copy;

    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    CHECK_OK(fkm_model_set_note(model, "note", "kept"));
    CHECK_OK(fkm_model_copy(model, &copy));
    CHECK_SAME_BYTES(model_bytes(model), model_bytes(copy));
    CHECK_OK(fkm_model_gradient_step(copy, &batch, NULL));
    CHECK_OK(fkm_model_gradient_step(model, &batch, NULL));
    CHECK_SAME_BYTES(model_bytes(model), model_bytes(copy));
    fkm_model_free(model);
    CHECK_OK(fkm_model_gradient_step(copy, &batch, NULL));
    fkm_model_free(copy);
    data_free(&data);
}

TEST(an_unfitted_model_can_be_saved_with_what_was_set)
{
    const float start[4] = {1, 2, 3, 4};
    const int64_t labels[2] = {5, 6};
    const double weights[2] = {1, 3};
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(1), &params, &model));
    CHECK_OK(fkm_model_set_start(model, start, 2, 2, labels));
    CHECK_OK(fkm_model_set_feature_weights(model, weights, 2));
    CHECK_OK(fkm_model_set_class_k(model, 9, 4));
    CHECK_OK(fkm_model_set_note(model, "text", "line one\nline \"two\" \\ end \xc3\xa9"));
    struct bytes before = model_bytes(model);
    model = through_a_file(model);
    CHECK_TEXT("line one\nline \"two\" \\ end \xc3\xa9", fkm_model_note(model, "text"));
    CHECK_SAME_BYTES(before, model_bytes(model));
    fkm_model_free(model);
}

TEST(starting_prototypes_of_f64_stay_as_they_are)
{
    const double start[2] = {1.0 / 3, 1e9 + 1e-6}, x[4] = {start[0], start[1], start[0], start[1]};
    const float narrow[2] = {(float)start[0], (float)start[1]};
    const fkm_dtype dtypes[2] = {FKM_DTYPE_F64, FKM_DTYPE_F32};

    for (int i = 0; i < 2; i++) {
        fkm_params params = data_params(FKM_TASK_CLUSTER);
        fkm_batch batch = FKM_BATCH_INIT;
        fkm_model *model;
        double centre[2];

        params.metric = FKM_METRIC_EUCLIDEAN;
        params.dtype = batch.dtype = dtypes[i];
        batch.n_rows = 4;
        batch.n_cols = 1;
        batch.x = x;
        batch.dtype = FKM_DTYPE_F64;
        CHECK_OK(fkm_model_create(context_of(1), &params, &model));
        CHECK_STATUS(FKM_EINVAL, fkm_model_set_start_f64(model, NULL, 2, 1, NULL));
        CHECK_OK(fkm_model_set_start(model, narrow, 2, 1, NULL));
        CHECK_OK(fkm_model_set_start_f64(model, start, 2, 1, NULL)); /* instead */
        struct bytes before = model_bytes(model);
        model = through_a_file(model);
        CHECK_SAME_BYTES(before, model_bytes(model));
        CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
        CHECK_OK(fkm_model_centroids(model, centre));
        for (int j = 0; j < 2; j++)
            CHECK_NEAR(i == 0 ? start[j] : (double)narrow[j], centre[j], 0);
        fkm_model_free(model);
    }
}

TEST(every_truncation_is_refused)
{
    struct data data = data_make(60, 2, 2, 32);
    fkm_model *model = fitted(FKM_TASK_CLASSIFY, &data, FKM_DTYPE_F32), *broken = NULL;
    struct bytes bytes = model_bytes(model);

    for (size_t size = 0; size < bytes.size; size++) {
        void *exact = malloc(size > 0 ? size : 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact, bytes.data, size);
        CHECK_STATUS(FKM_EDATA, fkm_model_from_bytes(context_of(1), exact, size, &broken));
        CHECK(broken == NULL);
        free(exact);
    }
    fkm_free(bytes.data);
    fkm_model_free(model);
    data_free(&data);
}

TEST(every_flipped_bit_is_refused)
{
    struct data data = data_make(40, 2, 2, 33);
    fkm_model *model = fitted(FKM_TASK_MULTILABEL, &data, FKM_DTYPE_F16), *broken = NULL;
    struct bytes bytes = model_bytes(model);
    unsigned char *raw = bytes.data;

    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        raw[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        const fkm_status status = fkm_model_from_bytes(context_of(1), raw, bytes.size, &broken);
        raw[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        if (status == FKM_OK) {
            fkm_model_free(broken);
            test_fail(__FILE__, __LINE__, "bit %zu of byte %zu went unnoticed", bit % 8, bit / 8);
        }
    }
    fkm_free(bytes.data);
    fkm_model_free(model);
    data_free(&data);
}

TEST(saving_replaces_a_file_whole_and_loads_back)
{
    struct data data = data_make(90, 3, 3, 34);
    fkm_model *model = fitted(FKM_TASK_CLUSTER, &data, FKM_DTYPE_BF16), *loaded;
    char path[600], partial[620];

    snprintf(path, sizeof path, "%s", scratch_path("whole.fkm"));
    snprintf(partial, sizeof partial, "%s.partial", path);
    CHECK_OK(fkm_model_save(model, path));
    CHECK_OK(fkm_model_save(model, path));
    CHECK(!exists(partial));
    CHECK_OK(fkm_model_load(context_of(2), path, &loaded));
    CHECK_SAME_BYTES(model_bytes(model), model_bytes(loaded));
    fkm_model_free(loaded);
    CHECK(unlink(path) == 0);
    CHECK_STATUS(FKM_EIO, fkm_model_load(context_of(2), path, &loaded));
    CHECK_SAYS("whole.fkm", fkm_last_error());
    CHECK_STATUS(FKM_EIO, fkm_model_save(model, "/nonexistent-folder/m.fkm"));
    fkm_model_free(model);
    data_free(&data);
}

TEST(a_full_disk_is_an_error_and_the_old_file_stays)
{
    struct data data = data_make(300, 40, 3, 35);
    fkm_model *small = fitted(FKM_TASK_CLUSTER, &data, FKM_DTYPE_F16),
              *large = fitted(FKM_TASK_CLASSIFY, &data, FKM_DTYPE_F64), *loaded;
    struct rlimit old, tight;
    char path[600], partial[620];

    snprintf(path, sizeof path, "%s", scratch_path("full.fkm"));
    snprintf(partial, sizeof partial, "%s.partial", path);
    CHECK_OK(fkm_model_save(small, path));
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    tight = old;
    tight.rlim_cur = 4096; /* the signal of a file too large must not reach anyone */
    CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
    const fkm_status status = fkm_model_save(large, path);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK_STATUS(FKM_EIO, status);
    CHECK(!exists(partial));
    CHECK_OK(fkm_model_load(context_of(2), path, &loaded));
    CHECK_SAME_BYTES(model_bytes(small), model_bytes(loaded));
    fkm_model_free(loaded);
    CHECK(unlink(path) == 0);
    fkm_model_free(small);
    fkm_model_free(large);
    data_free(&data);
}
