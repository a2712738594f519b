/* test_allocation.c — every allocation of every public call fails in turn, once and for ever: the call says
 * FKM_ENOMEM, the model keeps every byte, nothing leaks.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "support/data.h"

enum { N = 40, DIM = 3 };

/* One public call on a model that earlier calls have prepared. */
struct scene {
    fkm_task task;
    const struct data *data;
    fkm_model *model;
    struct bytes saved;
};
typedef fkm_status scene_call(struct scene *scene);

static fkm_status do_create(struct scene *scene)
{
    const fkm_params params = data_params(scene->task);
    fkm_model *model = NULL;
    const fkm_status status = fkm_model_create(context_of(2), &params, &model);

    fkm_model_free(model);
    return status;
}

static fkm_status do_copy(struct scene *scene)
{
    fkm_model *copy = NULL;
    const fkm_status status = fkm_model_copy(scene->model, &copy);

    fkm_model_free(copy);
    return status;
}

static fkm_status do_to_bytes(struct scene *scene)
{
    void *bytes = NULL;
    size_t size;
    const fkm_status status = fkm_model_to_bytes(scene->model, &bytes, &size);

    fkm_free(bytes);
    return status;
}

static fkm_status do_from_bytes(struct scene *scene)
{
    fkm_model *model = NULL;
    const fkm_status status =
        fkm_model_from_bytes(context_of(2), scene->saved.data, scene->saved.size, &model);

    fkm_model_free(model);
    return status;
}

static fkm_batch whole(const struct scene *scene) { return data_batch(scene->data, scene->task, 0, N); }

/* Masked, so that ages come to be. */
static fkm_batch masked(const struct scene *scene)
{
    fkm_batch batch = whole(scene);

    batch.mask = scene->data->mask;
    return batch;
}

static fkm_status do_fit(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    fkm_fit_options options = FKM_FIT_OPTIONS_INIT;

    options.max_iters = 3;
    options.eval_fraction = 0.2;
    return fkm_model_fit(scene->model, &batch, &options);
}

static fkm_status do_fit_batch(struct scene *scene)
{
    const fkm_batch batch = masked(scene);

    return fkm_model_fit_batch(scene->model, &batch, NULL);
}

static fkm_status do_fit_batch_with_new_class(struct scene *scene)
{
    fkm_batch batch = whole(scene);
    int64_t labels[N];

    for (int64_t i = 0; i < N; i++)
        labels[i] = i % 5 == 0 ? 1000 : scene->data->labels[i];
    if (batch.labels)
        batch.labels = labels;
    return fkm_model_fit_batch(scene->model, &batch, NULL);
}

static fkm_status do_gradient_step(struct scene *scene)
{
    const fkm_batch batch = whole(scene);

    return fkm_model_gradient_step(scene->model, &batch, NULL);
}

static fkm_status do_gradient_step_with_new_class(struct scene *scene)
{
    fkm_batch batch = whole(scene);
    int64_t labels[N];

    for (int64_t i = 0; i < N; i++)
        labels[i] = i % 5 == 0 ? 1000 + i % 10 : scene->data->labels[i];
    if (batch.labels)
        batch.labels = labels;
    return fkm_model_gradient_step(scene->model, &batch, NULL);
}

static fkm_status do_finetune(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;

    options.epochs = 1;
    options.eval_fraction = 0.2;
    return fkm_model_finetune(scene->model, &batch, &options);
}

static fkm_status do_search(struct scene *scene)
{
    const fkm_batch batch = whole(scene);

    return fkm_model_find_learning_rate(scene->model, &batch, NULL);
}

static fkm_status do_importance(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    double weights[DIM];

    return fkm_model_feature_importance(scene->model, &batch, weights);
}

static fkm_status do_predict(struct scene *scene)
{
    const fkm_batch batch = masked(scene);
    static int64_t labels[N];
    static double values[N * 8];
    static uint8_t tags[N * 8];

    if (scene->task == FKM_TASK_MULTILABEL)
        return fkm_model_predict_tags(scene->model, &batch, FKM_STRATEGY_GAP, 1, tags);
    if (scene->task == FKM_TASK_REGRESS)
        return fkm_model_predict_values(scene->model, &batch, values);
    return fkm_model_predict_labels(scene->model, &batch, labels);
}

static fkm_status do_evaluate(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    fkm_evaluation *evaluation = NULL;
    fkm_scores scores = {.struct_size = sizeof scores};
    fkm_status status = fkm_evaluation_create(scene->model, FKM_STRATEGY_ADAPTIVE, 1, &evaluation);

    if (status == FKM_OK)
        status = fkm_evaluation_add(evaluation, &batch);
    if (status == FKM_OK)
        status = fkm_evaluation_scores(evaluation, &scores);
    fkm_evaluation_free(evaluation);
    return status;
}

static fkm_status do_transform(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    static float similarity[N * 64];

    return fkm_model_transform(scene->model, &batch, similarity);
}

static fkm_status do_note(struct scene *scene) { return fkm_model_set_note(scene->model, "name", "value"); }

static fkm_status do_nearest(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    static int64_t index[N * 3];

    return fkm_model_nearest(scene->model, &batch, 3, index, NULL, NULL);
}

static fkm_status do_proba(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    static float proba[N * 8];

    if (scene->task != FKM_TASK_CLASSIFY && scene->task != FKM_TASK_MULTILABEL)
        return FKM_OK;
    return fkm_model_predict_proba(scene->model, &batch, proba);
}

static fkm_status do_context(struct scene *scene)
{
    fkm_context *context = NULL;
    const fkm_status status = fkm_context_create(NULL, &context);

    (void)scene;
    fkm_context_free(context);
    return status;
}

/* What may be set before the first fit. */
static fkm_status do_set(struct scene *scene)
{
    const fkm_params params = data_params(scene->task);
    const float start[2 * DIM] = {1, 2, 3, 4, 5, 6};
    const int64_t labels[2] = {-2, 1};
    const double weights[DIM] = {1, 2, 3};
    fkm_model *model = NULL;
    fkm_status status = fkm_model_create(context_of(2), &params, &model);

    if (status == FKM_OK)
        status = fkm_model_set_start(model, start, 2, DIM, labels);
    if (status == FKM_OK)
        status = fkm_model_set_feature_weights(model, weights, DIM);
    if (status == FKM_OK)
        status = fkm_model_set_class_k(model, 1, 3);
    fkm_model_free(model);
    return status;
}

/* A model of its own learns CSR rows by soft assignment, and answers. */
static fkm_status do_sparse_softly(struct scene *scene)
{
    fkm_params params = data_params(scene->task);
    fkm_batch batch = whole(scene);
    int64_t indptr[N + 1], index[N];
    int32_t indices[N * DIM];
    fkm_model *model = NULL;
    fkm_status status;

    for (int64_t i = 0; i <= N; i++)
        indptr[i] = i * DIM;
    for (int32_t e = 0; e < N * DIM; e++)
        indices[e] = e % DIM;
    batch.values = batch.x;
    batch.x = NULL;
    batch.indptr = indptr;
    batch.indices = indices;
    params.assignment = FKM_ASSIGN_LINEAR;
    status = fkm_model_create(context_of(2), &params, &model);
    if (status == FKM_OK)
        status = fkm_model_fit(model, &batch, NULL);
    if (status == FKM_OK)
        status = fkm_model_fit_batch(model, &batch, NULL);
    if (status == FKM_OK)
        status = fkm_model_nearest(model, &batch, 1, index, NULL, NULL);
    fkm_model_free(model);
    return status;
}

static const char *scratch_file(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "/tmp/fkm-test-%ld-%s", (long)getpid(), name);
    return path;
}

static fkm_status do_save_and_load(struct scene *scene)
{
    const char *path = scratch_file("allocation.fkm");
    fkm_model *model = NULL;
    fkm_status status = fkm_model_save(scene->model, path);

    if (status == FKM_OK)
        status = fkm_model_load(context_of(2), path, &model);
    fkm_model_free(model);
    (void)unlink(path);
    return status;
}

/* A copy learns from a file: a stream may have learned batches before one fails. */
static fkm_status do_stream(struct scene *scene)
{
    const char *path = scratch_file("allocation.csv");
    fkm_source_options options = FKM_SOURCE_OPTIONS_INIT;
    fkm_source *source = NULL;
    fkm_model *copy = NULL;
    FILE *file = fopen(path, "w");
    fkm_status status;

    CHECK(file != NULL);
    for (int64_t i = 0; i < N; i++)
        fprintf(file, "%g,%g,%g,%lld\n", (double)scene->data->x[DIM * i], (double)scene->data->x[DIM * i + 1],
                (double)scene->data->x[DIM * i + 2], (long long)(i % 3));
    CHECK(fclose(file) == 0);
    options.task = scene->task == FKM_TASK_REGRESS ? FKM_TASK_CLUSTER : scene->task;
    options.target = scene->task == FKM_TASK_CLASSIFY || scene->task == FKM_TASK_MULTILABEL ? "3" : NULL;
    status = fkm_source_open(path, &options, &source);
    if (status == FKM_OK)
        status = fkm_model_copy(scene->model, &copy);
    if (status == FKM_OK && scene->task == FKM_TASK_CLASSIFY)
        status = fkm_model_fit_source(copy, source, NULL);
    fkm_model_free(copy);
    fkm_source_close(source);
    (void)unlink(path);
    return status;
}

static const struct {
    const char *name;
    scene_call *call;
} calls[] = {
    {"create", do_create},
    {"copy", do_copy},
    {"to_bytes", do_to_bytes},
    {"from_bytes", do_from_bytes},
    {"fit", do_fit},
    {"fit_batch", do_fit_batch},
    {"fit_batch with a new class", do_fit_batch_with_new_class},
    {"gradient_step", do_gradient_step},
    {"gradient_step with new classes", do_gradient_step_with_new_class},
    {"finetune", do_finetune},
    {"find_learning_rate", do_search},
    {"feature_importance", do_importance},
    {"predict", do_predict},
    {"evaluate", do_evaluate},
    {"transform", do_transform},
    {"nearest", do_nearest},
    {"predict_proba", do_proba},
    {"context_create", do_context},
    {"set_start, set_feature_weights, set_class_k", do_set},
    {"fit of sparse rows, softly", do_sparse_softly},
    {"save and load", do_save_and_load},
    {"source_open and fit_source", do_stream},
    {"set_note", do_note},
};

static struct scene open_scene(fkm_task task, const struct data *data, bool trained)
{
    struct scene scene = {.task = task, .data = data};
    fkm_params params = data_params(task);

    params.auto_feature_weights = task == FKM_TASK_CLASSIFY;
    CHECK_OK(fkm_model_create(context_of(2), &params, &scene.model));
    const fkm_batch batch = whole(&scene);
    CHECK_OK(fkm_model_fit(scene.model, &batch, NULL));
    if (trained)
        CHECK_OK(fkm_model_gradient_step(scene.model, &batch, NULL));
    scene.saved = model_bytes(scene.model);
    return scene;
}

static void close_scene(struct scene *scene)
{
    fkm_model_free(scene->model);
    fkm_free(scene->saved.data);
}

/* Fails the n-th allocation for n = 1, 2, ... until the call succeeds. */
static void fail_in_turn(fkm_task task, const struct data *data, size_t c, bool trained, int for_ever)
{
    struct scene scene = open_scene(task, data, trained);

    for (int64_t n = 1;; n++) {
        fkmi_memory_fail(n, for_ever);
        const fkm_status status = calls[c].call(&scene);
        fkmi_memory_fail(0, 0);
        if (status == FKM_OK)
            break;
        if (status != FKM_ENOMEM)
            test_fail(__FILE__, __LINE__, "%s of task %d, allocation %lld: %s: %s", calls[c].name, (int)task,
                      (long long)n, fkm_status_name(status), fkm_last_error());
        struct bytes now = model_bytes(scene.model);
        const bool same = bytes_equal(scene.saved, now);
        fkm_free(now.data);
        if (!same)
            test_fail(__FILE__, __LINE__, "%s of task %d, allocation %lld: the model changed", calls[c].name,
                      (int)task, (long long)n);
        if (n > 20000)
            test_fail(__FILE__, __LINE__, "%s of task %d never succeeds", calls[c].name, (int)task);
    }
    close_scene(&scene);
}

static void fail_everything(bool trained, int for_ever)
{
    struct data data = data_make(N, DIM, 3, 80);

    for (int t = 0; t < 4; t++)
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
            fail_in_turn(data_tasks[t], &data, c, trained, for_ever);
    data_free(&data);
}

TEST(one_failing_allocation_after_phase_1) { fail_everything(false, 0); }
TEST(one_failing_allocation_after_phase_2) { fail_everything(true, 0); }
TEST(no_memory_for_ever_after_phase_1) { fail_everything(false, 1); }
TEST(no_memory_for_ever_after_phase_2) { fail_everything(true, 1); }

TEST(a_model_answers_as_before_when_a_batch_with_a_new_class_failed)
{
    struct data data = data_make(N, DIM, 3, 84);
    const fkm_params params = data_params(FKM_TASK_CLASSIFY);
    struct scene scene = {.task = FKM_TASK_CLASSIFY, .data = &data};
    int64_t before[N], after[N];
    fkm_status status = FKM_ENOMEM;

    CHECK_OK(fkm_model_create(context_of(2), &params, &scene.model));
    const fkm_batch batch = whole(&scene);
    CHECK_OK(fkm_model_fit(scene.model, &batch, NULL));
    CHECK_OK(fkm_model_predict_labels(scene.model, &batch, before));
    for (int64_t n = 1; status == FKM_ENOMEM; n++) {
        fkmi_memory_fail(n, 0);
        status = do_fit_batch_with_new_class(&scene);
        fkmi_memory_fail(0, 0);
        CHECK_OK(fkm_model_predict_labels(scene.model, &batch, after));
        CHECK(status == FKM_OK || memcmp(before, after, sizeof before) == 0);
    }
    CHECK_OK(status);
    CHECK_OK(do_gradient_step(&scene));
    CHECK_OK(fkm_model_predict_labels(scene.model, &batch, before));
    status = FKM_ENOMEM;
    for (int64_t n = 1; status == FKM_ENOMEM; n++) {
        fkmi_memory_fail(n, 0);
        status = do_gradient_step_with_new_class(&scene);
        fkmi_memory_fail(0, 0);
        CHECK_OK(fkm_model_predict_labels(scene.model, &batch, after));
        CHECK(status == FKM_OK || memcmp(before, after, sizeof before) == 0);
    }
    CHECK_OK(status);
    fkm_model_free(scene.model);
    data_free(&data);
}

TEST(freeing_models_gives_all_memory_back)
{
    struct data data = data_make(N, DIM, 3, 81);

    context_of(2);
    for (int t = 0; t < 4; t++) {
        struct scene scene = open_scene(data_tasks[t], &data, true);
        size_t before, after;
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
            CHECK_OK(calls[c].call(&scene));
        close_scene(&scene);
        before = fkmi_memory_held();
        scene = open_scene(data_tasks[t], &data, true);
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
            CHECK_OK(calls[c].call(&scene));
        close_scene(&scene);
        after = fkmi_memory_held();
        CHECK_INT((long long)before, (long long)after);
    }
    data_free(&data);
}

TEST(a_steady_stream_allocates_no_lasting_memory)
{
    struct data data = data_make(400, DIM, 3, 82);
    const fkm_params params = data_params(FKM_TASK_CLASSIFY);
    fkm_model *model;
    size_t held = 0;

    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    for (int b = 0; b < 20; b++) {
        const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, b % 4 * 100, 100);
        CHECK_OK(fkm_model_fit_batch(model, &batch, NULL));
        if (b == 9)
            held = fkmi_memory_held();
    }
    CHECK_INT((long long)held, (long long)fkmi_memory_held());
    fkm_model_free(model);
    data_free(&data);
}

TEST(the_memory_limit_is_an_error_that_names_it)
{
    struct data data = data_make(4000, 64, 4, 83);
    const fkm_params params = data_params(FKM_TASK_CLASSIFY);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    fkm_model *model;

    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    fkmi_memory_set_limit(fkmi_memory_held() + 10000);
    const fkm_status status = fkm_model_fit(model, &batch, NULL);
    fkmi_memory_set_limit(0);
    CHECK_STATUS(FKM_ENOMEM, status);
    CHECK_SAYS("limit", fkm_last_error());
    CHECK_OK(fkm_model_fit(model, &batch, NULL));
    fkm_model_free(model);
    data_free(&data);
}
