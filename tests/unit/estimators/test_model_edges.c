/* test_model_edges.c — settings and rows at the edge of what is allowed: they work, or are refused with words.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "support/data.h"

static fkm_model *new_model(fkm_params params, int n_threads)
{
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(n_threads), &params, &model));
    return model;
}

TEST(soft_assignment_fits_whole_data)
{
    struct data data = data_make(90, 4, 3, 60);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    const fkm_assignment kinds[] = {FKM_ASSIGN_LINEAR, FKM_ASSIGN_SOFTMAX};
    const fkm_repulsion repulsions[] = {FKM_REPULSION_WINDOW, FKM_REPULSION_GLVQ};

    for (int a = 0; a < 2; a++)
        for (int r = 0; r < 2; r++) {
            fkm_params params = data_params(FKM_TASK_CLASSIFY);
            int64_t labels[90], right = 0;
            params.assignment = kinds[a];
            params.repulsion = repulsions[r];
            fkm_model *model = new_model(params, 2);
            CHECK_OK(fkm_model_fit(model, &batch, NULL));
            CHECK_OK(fkm_model_predict_labels(model, &batch, labels));
            for (int64_t i = 0; i < data.n; i++)
                right += labels[i] == data.labels[i];
            CHECK(right > 60);
            fkm_model_free(model);
        }
    data_free(&data);
}

TEST(starting_prototypes_and_feature_weights_have_one_width)
{
    const float points[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const double weights[6] = {1, 1, 1, 1, 1, 1}, tiny[4] = {1e-310, 0, 0, 0};
    fkm_model *model = new_model(data_params(FKM_TASK_CLUSTER), 1);

    CHECK_OK(fkm_model_set_start(model, points, 2, 4, NULL));
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_feature_weights(model, weights, 6));
    CHECK_SAYS("6", fkm_last_error());
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_feature_weights(model, tiny, 4)); /* 4 / 1e-310 is infinite */
    CHECK_OK(fkm_model_set_feature_weights(model, weights, 4));
    CHECK_STATUS(FKM_EINVAL, fkm_model_set_start(model, points, 4, 2, NULL));
    CHECK_SAYS("2 columns", fkm_last_error());
    CHECK_OK(fkm_model_set_start(model, points, 1, 4, NULL));
    fkm_model_free(model);
}

TEST(half_precision_refuses_rows_beyond_its_range)
{
    struct data data = data_make(30, 4, 3, 61);

    data.x[7 * 4 + 2] = 1e6f;
    for (int t = 0; t < 4; t++) {
        fkm_batch batch = data_batch(&data, data_tasks[t], 0, data.n);
        fkm_params params = data_params(data_tasks[t]);
        params.dtype = FKM_DTYPE_F16;
        fkm_model *model = new_model(params, 1);
        CHECK_STATUS(FKM_EINVAL, fkm_model_fit(model, &batch, NULL));
        CHECK_SAYS("row 7, column 2", fkm_last_error());
        CHECK_STATUS(FKM_EINVAL, fkm_model_fit_batch(model, &batch, NULL));
        CHECK_STATUS(FKM_EINVAL, fkm_model_set_start(model, data.x, data.n, 4, data.labels));
        batch.mask = data.mask;
        data.mask[7 * 4 + 2] = 0;
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        data.mask[7 * 4 + 2] = 1;
        CHECK_STATUS(FKM_EINVAL, fkm_model_gradient_step(model, &batch, NULL));
        fkm_model_free(model);
        params.dtype = FKM_DTYPE_BF16;
        model = new_model(params, 1);
        CHECK_OK(fkm_model_fit(model, &batch, NULL));
        fkm_model_free(model);
    }
    data_free(&data);
}

TEST(learning_rates_have_a_bound)
{
    struct data data = data_make(30, 4, 3, 62);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_model *model = new_model(params, 1);

    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    options.lr = 11;
    CHECK_STATUS(FKM_EINVAL, fkm_model_finetune(model, &batch, &options));
    CHECK_SAYS("lr is 11", fkm_last_error());
    fkm_model_free(model);
    data_free(&data);
    params.learning_rate = 1e300;
    CHECK_STATUS(FKM_EINVAL, fkm_params_check(&params));
    CHECK_SAYS("learning_rate", fkm_last_error());
}

TEST(a_note_that_no_file_can_hold_is_refused)
{
    fkm_model *model = new_model(data_params(FKM_TASK_CLUSTER), 1);

    CHECK_STATUS(FKM_EINVAL, fkm_model_set_note(model, "names", "caf\xe9"));
    CHECK_SAYS("'names'", fkm_last_error());
    CHECK(fkm_model_note(model, "names") == NULL);
    CHECK_OK(fkm_model_set_note(model, "names", "caf\xc3\xa9"));
    fkm_model_free(model);
}

/* Numbers of particular classes may come in any order, and be replaced. */
TEST(class_k_may_be_set_in_any_order)
{
    struct data data = data_make(120, 4, 4, 63); /* labels -2, 1, 4, 7 */
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    const int64_t order[] = {7, -2, 900, 4, -1000, 7};
    const int32_t k[] = {1, 4, 9, 3, 9, 5};
    int64_t count[4] = {0}, labels[64];
    fkm_model_info info = {.struct_size = sizeof info};
    fkm_params params = data_params(FKM_TASK_CLASSIFY);

    params.min_weight = 0;
    fkm_model *model = new_model(params, 1), *copy;
    for (int i = 0; i < 6; i++)
        CHECK_OK(fkm_model_set_class_k(model, order[i], k[i]));
    CHECK_OK(fkm_model_copy(model, &copy));
    CHECK_SAME_BYTES(model_bytes(model), model_bytes(copy));
    fkm_model_free(model);
    CHECK_OK(fkm_model_set_class_k(copy, 5, 5)); /* a copy can grow */
    CHECK_OK(fkm_model_fit(copy, &batch, NULL));
    CHECK_OK(fkm_model_describe(copy, &info));
    CHECK(info.k <= 64);
    CHECK_OK(fkm_model_centroid_labels(copy, labels));
    for (int64_t j = 0; j < info.k; j++)
        count[(labels[j] + 2) / 3]++;
    CHECK_INT(4, count[0]);
    CHECK_INT(2, count[1]);
    CHECK_INT(3, count[2]);
    CHECK_INT(5, count[3]);
    fkm_model_free(copy);
    data_free(&data);
}
