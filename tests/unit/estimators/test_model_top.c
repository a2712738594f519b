/* test_model_top.c — the few most probable classes are those of all probabilities, sorted.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "support/data.h"

enum { ROWS = 300, CLASSES = 9 };

/* By plain loops: columns are in the order of labels, so the first of equals has the lowest. */
static void check_row(const float *proba, const int64_t *classes, int64_t m, const int64_t *labels,
                      const float *top)
{
    bool taken[CLASSES] = {false};

    for (int64_t place = 0; place < m; place++) {
        int best = -1;

        for (int c = 0; c < CLASSES; c++)
            if (!taken[c] && (best < 0 || proba[c] > proba[best]))
                best = c;
        taken[best] = true;
        CHECK(memcmp(&proba[best], &top[place], sizeof *top) == 0);
        CHECK_INT(classes[best], labels[place]);
    }
}

static void check_task(fkm_task task, int64_t top_k, fkm_soft soft)
{
    struct data data = data_make(ROWS, 9, CLASSES, 62);
    const fkm_batch all = data_batch(&data, task, 0, ROWS);
    fkm_params params = data_params(task);
    float *proba = calloc(ROWS * CLASSES, sizeof *proba), *top = calloc(ROWS * CLASSES, sizeof *top);
    int64_t *labels = calloc(ROWS * CLASSES, sizeof *labels), classes[CLASSES];
    fkm_model_info info = {.struct_size = sizeof info};

    params.top_k = (int32_t)top_k;
    params.soft = soft;
    for (int threads = 1; threads <= 3; threads++) {
        fkm_model *model;

        CHECK_OK(fkm_model_create(context_of(threads), &params, &model));
        CHECK_OK(fkm_model_fit(model, &all, NULL));
        CHECK_OK(fkm_model_describe(model, &info));
        CHECK_INT(CLASSES, info.n_classes);
        CHECK_OK(fkm_model_classes(model, classes));
        CHECK_OK(fkm_model_predict_proba(model, &all, proba));
        for (int64_t m = 1; m <= CLASSES; m++) {
            CHECK_OK(fkm_model_predict_top(model, &all, m, labels, top));
            for (int64_t i = 0; i < ROWS; i++)
                check_row(proba + i * CLASSES, classes, m, labels + i * m, top + i * m);
        }
        for (int64_t m = 0; m <= CLASSES + 1; m += CLASSES + 1) {
            CHECK_INT(FKM_EINVAL, fkm_model_predict_top(model, &all, m, labels, top));
            CHECK(strstr(fkm_last_error(), "between 1 and the 9 classes") != NULL);
        }
        CHECK_INT(FKM_EINVAL, fkm_model_predict_top(model, &all, 1, NULL, top));
        CHECK_INT(FKM_EINVAL, fkm_model_predict_top(model, &all, 1, labels, NULL));
        fkm_model_free(model);
    }
    free(proba);
    free(top);
    free(labels);
    data_free(&data);
}

TEST(classes) { check_task(FKM_TASK_CLASSIFY, 5, FKM_SOFT_SOFTMAX_SCALED); }
TEST(classes_among_all_prototypes) { check_task(FKM_TASK_CLASSIFY, -1, FKM_SOFT_SCALED); }
TEST(classes_with_equal_shares) { check_task(FKM_TASK_CLASSIFY, 4, FKM_SOFT_MEAN); }
TEST(tags) { check_task(FKM_TASK_MULTILABEL, 5, FKM_SOFT_SOFTMAX_SCALED); }

TEST(other_tasks_have_none)
{
    struct data data = data_make(60, 9, 3, 63);
    int64_t labels[60];
    float top[60];

    for (int t = 0; t < 4; t++) {
        const fkm_batch all = data_batch(&data, data_tasks[t], 0, 60);
        const fkm_params params = data_params(data_tasks[t]);
        fkm_model *model;

        CHECK_OK(fkm_model_create(context_of(1), &params, &model));
        CHECK_INT(FKM_ESTATE, fkm_model_predict_top(model, &all, 1, labels, top));
        CHECK_OK(fkm_model_fit(model, &all, NULL));
        CHECK_INT(data_tasks[t] == FKM_TASK_CLASSIFY || data_tasks[t] == FKM_TASK_MULTILABEL ? FKM_OK
                                                                                             : FKM_ESTATE,
                  fkm_model_predict_top(model, &all, 1, labels, top));
        fkm_model_free(model);
    }
    data_free(&data);
}
