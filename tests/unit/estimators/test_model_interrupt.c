/* test_model_interrupt.c — every public call is told to stop at the first question, the second, ... until it succeeds:
 * it says FKM_EINTERRUPTED and the model keeps every byte; fit keeps the passes that were whole, finetune the steps,
 * a stream the batches. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "support/data.h"

enum { N = 48, DIM = 3, PASSES = 7, MOST_ASKED = 200000 };

/* ---- the user */

struct user {
    int64_t asked, stop_at; /* stop_at 0: never */
};

static int ask(void *argument)
{
    struct user *user = argument;

    return ++user->asked == user->stop_at;
}

/* Every check asks from here to leave_user. */
static void enter_user(struct user *user)
{
    fkmi_interrupt_every(0);
    fkm_set_interrupt(ask, user);
}

static void leave_user(void)
{
    fkm_set_interrupt(NULL, NULL);
    fkmi_interrupt_every(-1);
}

/* All of the first, then ever fewer: the questions of a call may be thousands. */
static int64_t next_stop(int64_t n) { return n + 1 + n / 100; }

/* ---- calls that change nothing when they are interrupted */

struct scene {
    fkm_task task;
    const struct data *data;
    fkm_model *model;
    struct bytes saved; /* the model before the call */
};
typedef fkm_status scene_call(struct scene *scene);

static fkm_batch whole(const struct scene *scene) { return data_batch(scene->data, scene->task, 0, N); }

static fkm_batch masked(const struct scene *scene)
{
    fkm_batch batch = whole(scene);

    batch.mask = scene->data->mask;
    return batch;
}

static fkm_status do_fit_batch(struct scene *scene)
{
    const fkm_batch batch = whole(scene);

    return fkm_model_fit_batch(scene->model, &batch, NULL);
}

static fkm_status do_fit_batch_masked(struct scene *scene)
{
    const fkm_batch batch = masked(scene);

    return fkm_model_fit_batch(scene->model, &batch, NULL);
}

static fkm_status do_fit_batch_sparse(struct scene *scene)
{
    const fkm_batch batch = data_batch_csr(scene->data, scene->task);

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

static fkm_status do_search(struct scene *scene)
{
    const fkm_batch batch = data_batch(scene->data, scene->task, 0, 6);

    return fkm_model_find_learning_rate(scene->model, &batch, NULL);
}

static fkm_status do_importance(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    double weights[DIM];

    return fkm_model_feature_importance(scene->model, &batch, weights);
}

static fkm_status do_importance_sparse(struct scene *scene)
{
    const fkm_batch batch = data_batch_csr(scene->data, scene->task);
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

static fkm_status do_proba(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    static float proba[N * 8];

    if (scene->task != FKM_TASK_CLASSIFY && scene->task != FKM_TASK_MULTILABEL)
        return FKM_OK;
    return fkm_model_predict_proba(scene->model, &batch, proba);
}

static fkm_status do_nearest(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    static int64_t index[N * 3];

    return fkm_model_nearest(scene->model, &batch, 3, index, NULL, NULL);
}

static fkm_status do_transform(struct scene *scene)
{
    const fkm_batch batch = whole(scene);
    static float similarity[N * 64];

    return fkm_model_transform(scene->model, &batch, similarity);
}

static fkm_status do_from_bytes(struct scene *scene)
{
    fkm_model *model = NULL;
    const fkm_status status =
        fkm_model_from_bytes(context_of(1), scene->saved.data, scene->saved.size, &model);

    CHECK((model != NULL) == (status == FKM_OK));
    fkm_model_free(model);
    return status;
}

static fkm_status do_to_bytes(struct scene *scene)
{
    void *bytes = NULL;
    size_t size;
    const fkm_status status = fkm_model_to_bytes(scene->model, &bytes, &size);

    CHECK((bytes != NULL) == (status == FKM_OK));
    fkm_free(bytes);
    return status;
}

static fkm_status do_set_start(struct scene *scene)
{
    const fkm_params params = data_params(scene->task);
    const float start[2 * DIM] = {1, 2, 3, 4, 5, 6};
    const int64_t labels[2] = {-2, 1};
    fkm_model *model = NULL;
    struct bytes before;
    fkm_status status;

    fkmi_hold_interrupts();
    CHECK_OK(fkm_model_create(context_of(1), &params, &model));
    before = model_bytes(model);
    fkmi_release_interrupts();
    status = fkm_model_set_start(model, start, 2, DIM, labels);
    fkmi_hold_interrupts();
    if (status != FKM_OK) {
        CHECK_SAME_BYTES(before, model_bytes(model));
    } else {
        fkm_free(before.data);
    }
    fkmi_release_interrupts();
    fkm_model_free(model);
    return status;
}

static const struct {
    const char *name;
    scene_call *call;
} calls[] = {
    {"fit_batch", do_fit_batch},
    {"fit_batch of masked rows", do_fit_batch_masked},
    {"fit_batch of sparse rows", do_fit_batch_sparse},
    {"fit_batch with a new class", do_fit_batch_with_new_class},
    {"gradient_step", do_gradient_step},
    {"find_learning_rate", do_search},
    {"feature_importance", do_importance},
    {"feature_importance of sparse rows", do_importance_sparse},
    {"predict", do_predict},
    {"predict_proba", do_proba},
    {"nearest", do_nearest},
    {"transform", do_transform},
    {"from_bytes", do_from_bytes},
    {"to_bytes", do_to_bytes},
    {"set_start", do_set_start},
};

/* Kinds of model: what else may come after prototypes have moved. */
enum variant { PLAIN, TRAINED, MERGING, WEIGHING, N_VARIANTS };

static fkm_params params_of(fkm_task task, enum variant variant)
{
    fkm_params params = data_params(task);

    if (variant == MERGING) {
        params.merge_threshold = 0.7;
        params.relative_merge = 1;
        params.k_init = 6;
    }
    params.auto_feature_weights = variant == WEIGHING;
    params.finetune_batch_size = 16;
    return params;
}

static struct scene open_scene(fkm_task task, const struct data *data, enum variant variant)
{
    struct scene scene = {.task = task, .data = data};
    fkm_params params = params_of(task, variant);

    CHECK_OK(fkm_model_create(context_of(1), &params, &scene.model));
    const fkm_batch batch = data_batch(data, task, 0, N / 2);
    CHECK_OK(fkm_model_fit(scene.model, &batch, NULL));
    if (variant == TRAINED)
        CHECK_OK(fkm_model_gradient_step(scene.model, &batch, NULL));
    scene.saved = model_bytes(scene.model);
    return scene;
}

static void close_scene(struct scene *scene)
{
    fkm_model_free(scene->model);
    fkm_free(scene->saved.data);
}

static bool is_as_saved(const struct scene *scene)
{
    struct bytes now = model_bytes(scene->model);
    const bool same = bytes_equal(scene->saved, now);

    fkm_free(now.data);
    return same;
}

/* Returns how many questions the call asked when it was left alone. */
static int64_t interrupt_in_turn(struct scene *scene, size_t c)
{
    for (int64_t n = 1; n < MOST_ASKED; n = next_stop(n)) {
        struct user user = {.stop_at = n};
        fkm_status status;

        enter_user(&user);
        status = calls[c].call(scene);
        leave_user();
        if (status == FKM_OK && user.asked >= n)
            test_fail(__FILE__, __LINE__, "%s of task %d goes on after question %lld", calls[c].name,
                      (int)scene->task, (long long)n);
        if (status == FKM_OK)
            return user.asked;
        if (status != FKM_EINTERRUPTED)
            test_fail(__FILE__, __LINE__, "%s of task %d, question %lld: %s: %s", calls[c].name,
                      (int)scene->task, (long long)n, fkm_status_name(status), fkm_last_error());
        if (user.asked != n)
            test_fail(__FILE__, __LINE__, "%s of task %d was asked again after question %lld", calls[c].name,
                      (int)scene->task, (long long)n);
        if (!is_as_saved(scene))
            test_fail(__FILE__, __LINE__, "%s of task %d, question %lld: the model changed", calls[c].name,
                      (int)scene->task, (long long)n);
    }
    test_fail(__FILE__, __LINE__, "%s of task %d never succeeds", calls[c].name, (int)scene->task);
}

static void interrupt_everything(enum variant variant)
{
    struct data data = data_make(N, DIM, 3, 90);

    for (int t = 0; t < 4; t++)
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
            struct scene scene = open_scene(data_tasks[t], &data, variant);
            const int64_t asked = interrupt_in_turn(&scene, c);
            CHECK(asked > 0 || calls[c].call == do_proba);
            close_scene(&scene);
        }
    data_free(&data);
}

TEST(an_interrupted_call_leaves_the_model_as_it_was) { interrupt_everything(PLAIN); }
TEST(so_it_does_after_phase_2) { interrupt_everything(TRAINED); }
TEST(so_it_does_where_prototypes_merge) { interrupt_everything(MERGING); }
TEST(so_it_does_where_features_have_weights) { interrupt_everything(WEIGHING); }

/* A first batch, and a first gradient step, make what was not there before. */
TEST(an_interrupted_first_batch_leaves_an_unfitted_model)
{
    struct data data = data_make(N, DIM, 3, 91);

    for (int t = 0; t < 4; t++) {
        struct scene scene = {.task = data_tasks[t], .data = &data};
        const fkm_params params = data_params(data_tasks[t]);

        CHECK_OK(fkm_model_create(context_of(1), &params, &scene.model));
        scene.saved = model_bytes(scene.model);
        CHECK(interrupt_in_turn(&scene, 0) > 0);
        close_scene(&scene);
    }
    data_free(&data);
}

/* ---- fit keeps the passes that were whole */

static int stop_after(void *user, const fkm_progress *progress)
{
    return progress->epoch == *(const int64_t *)user;
}

static const fkm_fit_options seven_passes = {
    .struct_size = sizeof(fkm_fit_options), .max_iters = PASSES, .tol = 0};

/* What fit leaves when the progress callback stops it after `passes`. */
static fkm_model *stopped_after(const fkm_params *params, const fkm_batch *batch, int64_t passes)
{
    fkm_fit_options options = seven_passes;
    fkm_model *model;

    options.progress = stop_after;
    options.user = &passes;
    CHECK_OK(fkm_model_create(context_of(1), params, &model));
    CHECK_STATUS(FKM_EINTERRUPTED, fkm_model_fit(model, batch, &options));
    return model;
}

static int64_t passes_of(const fkm_model *model)
{
    fkm_model_info info = {.struct_size = sizeof info};

    CHECK_OK(fkm_model_describe(model, &info));
    return info.iterations;
}

/* The model of a whole fit is fitted again on other rows: interrupted, it is what it was, or what so many passes make
 * of a new one. */
static void interrupt_fit(const fkm_params *params, const fkm_batch *batch, const fkm_batch *before)
{
    fkm_model *fitted, *references[PASSES + 1] = {NULL};
    struct bytes saved;
    int64_t seen[PASSES + 1] = {0};

    CHECK_OK(fkm_model_create(context_of(1), params, &fitted));
    CHECK_OK(fkm_model_fit(fitted, before, NULL));
    saved = model_bytes(fitted);
    for (int64_t n = 1;; n = next_stop(n)) {
        struct user user = {.stop_at = n};
        fkm_model *model;
        fkm_status status;
        int64_t passes;

        CHECK_OK(fkm_model_copy(fitted, &model));
        enter_user(&user);
        status = fkm_model_fit(model, batch, &seven_passes);
        leave_user();
        CHECK((status == FKM_OK) == (user.asked < n));
        if (status == FKM_OK) {
            fkm_model_free(model);
            break;
        }
        CHECK_STATUS(FKM_EINTERRUPTED, status);
        CHECK_INT(n, user.asked);
        CHECK_SAYS("interrupted", fkm_last_error());
        struct bytes now = model_bytes(model);
        if (bytes_equal(saved, now)) {
            fkm_free(now.data);
            seen[0]++;
        } else {
            char message[64];
            passes = passes_of(model);
            CHECK(passes >= 1 && passes <= PASSES);
            snprintf(message, sizeof message, "interrupted after %lld passes", (long long)passes);
            CHECK_TEXT(message, fkm_last_error());
            seen[passes]++;
            if (!references[passes])
                references[passes] = stopped_after(params, batch, passes);
            CHECK_SAME_BYTES(now, model_bytes(references[passes]));
        }
        fkm_model_free(model);
        CHECK(n < MOST_ASKED);
    }
    CHECK(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
    for (int p = 0; p <= PASSES; p++)
        fkm_model_free(references[p]);
    fkm_free(saved.data);
    fkm_model_free(fitted);
}

static void interrupt_fits(void (*change)(fkm_params *params, fkm_batch *batch, const struct data *data))
{
    struct data data = data_make(N, DIM, 3, 92);

    for (int t = 0; t < 4; t++) {
        fkm_params params = data_params(data_tasks[t]);
        fkm_batch batch = data_batch(&data, data_tasks[t], 0, N);
        const fkm_batch before = data_batch(&data, data_tasks[t], 0, N / 2);

        params.init = FKM_INIT_RANDOM; /* far from where the passes end */
        change(&params, &batch, &data);
        interrupt_fit(&params, &batch, &before);
    }
    data_free(&data);
}

static void change_nothing(fkm_params *params, fkm_batch *batch, const struct data *data)
{
    (void)params;
    (void)batch;
    (void)data;
}

static void change_to_masked(fkm_params *params, fkm_batch *batch, const struct data *data)
{
    (void)params;
    batch->mask = data->mask;
}

static void change_to_many(fkm_params *params, fkm_batch *batch, const struct data *data)
{
    (void)batch;
    (void)data;
    params->k_init = 12; /* a clusterer then swaps; dead ones come back to life */
    params->k_features = 6;
}

static void change_to_soft(fkm_params *params, fkm_batch *batch, const struct data *data)
{
    (void)batch;
    (void)data;
    params->metric = FKM_METRIC_L1;
    params->assignment = params->task == FKM_TASK_CLASSIFY ? FKM_ASSIGN_SOFTMAX : FKM_ASSIGN_HARD;
    params->dtype = FKM_DTYPE_F16;
}

TEST(an_interrupted_fit_keeps_whole_passes) { interrupt_fits(change_nothing); }
TEST(an_interrupted_fit_of_masked_rows_keeps_whole_passes) { interrupt_fits(change_to_masked); }
TEST(an_interrupted_fit_of_many_prototypes_keeps_whole_passes) { interrupt_fits(change_to_many); }
TEST(an_interrupted_fit_of_soft_cells_keeps_whole_passes) { interrupt_fits(change_to_soft); }

/* What is interrupted after the passes: GLVQ, merging, thresholds, scores on held-out rows. The model works. */
TEST(what_follows_the_passes_may_be_interrupted_too)
{
    struct data data = data_make(N, DIM, 3, 93);

    for (int t = 0; t < 4; t++)
        for (int64_t n = 1;; n = next_stop(n)) {
            fkm_params params = params_of(data_tasks[t], MERGING);
            const fkm_batch batch = data_batch(&data, data_tasks[t], 0, N);
            struct scene scene = {.task = data_tasks[t], .data = &data};
            struct user user = {.stop_at = n};
            fkm_fit_options options = seven_passes;
            fkm_status status;

            params.repulsion = FKM_REPULSION_GLVQ;
            params.auto_feature_weights = 1;
            options.eval_fraction = 0.25;
            CHECK_OK(fkm_model_create(context_of(1), &params, &scene.model));
            enter_user(&user);
            status = fkm_model_fit(scene.model, &batch, &options);
            leave_user();
            CHECK((status == FKM_OK) == (user.asked < n));
            if (status == FKM_OK) {
                fkm_model_free(scene.model);
                break;
            }
            CHECK_STATUS(FKM_EINTERRUPTED, status);
            CHECK_INT(n, user.asked);
            if (passes_of(scene.model) > 0) {
                scene.saved = model_bytes(scene.model);
                CHECK_OK(do_from_bytes(&scene)); /* a file that its own checks let pass */
                CHECK_OK(do_predict(&scene));
                CHECK_OK(do_fit_batch(&scene));
                CHECK_OK(do_gradient_step(&scene));
                fkm_free(scene.saved.data);
            } else {
                CHECK_STATUS(FKM_ESTATE, do_predict(&scene));
            }
            fkm_model_free(scene.model);
            CHECK(n < MOST_ASKED);
        }
    data_free(&data);
}

/* ---- finetune keeps its steps, a stream its batches */

static int64_t steps_of(const fkm_model *model)
{
    fkm_model_info info = {.struct_size = sizeof info};

    CHECK_OK(fkm_model_describe(model, &info));
    return info.gradient_steps;
}

TEST(an_interrupted_finetune_keeps_whole_steps)
{
    struct data data = data_make(N, DIM, 3, 94);

    for (int t = 0; t < 4; t++)
        for (int scored = 0; scored < 2; scored++) {
            struct scene scene = open_scene(data_tasks[t], &data, PLAIN);
            const fkm_batch batch = whole(&scene);
            fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
            bool changed = false, unchanged = false;

            options.epochs = 2;
            options.lr = 0.02;
            options.eval_fraction = scored ? 0.25 : 0;
            for (int64_t n = 1;; n = next_stop(n)) {
                struct user user = {.stop_at = n};
                fkm_model *model;
                fkm_status status;

                CHECK_OK(fkm_model_copy(scene.model, &model));
                enter_user(&user);
                status = fkm_model_finetune(model, &batch, &options);
                leave_user();
                CHECK((status == FKM_OK) == (user.asked < n));
                if (status == FKM_OK) {
                    CHECK_INT(6, steps_of(model));
                    fkm_model_free(model);
                    break;
                }
                CHECK_STATUS(FKM_EINTERRUPTED, status);
                CHECK_INT(n, user.asked);
                struct bytes now = model_bytes(model);
                const bool same = bytes_equal(scene.saved, now);
                CHECK(same == (steps_of(model) == 0));
                changed = changed || !same;
                unchanged = unchanged || same;
                fkm_free(now.data);
                fkm_model_free(model);
                CHECK(n < MOST_ASKED);
            }
            CHECK(changed && unchanged);
            close_scene(&scene);
        }
    data_free(&data);
}

/* Rows of data, 12 at a time, from memory. */
struct tape {
    const struct data *data;
    fkm_task task;
    int64_t at;
};

static fkm_status tape_next(void *user, int64_t max_rows, fkm_batch *batch)
{
    struct tape *tape = user;
    const int64_t left = N - tape->at, n = left < 12 ? left : 12;

    (void)max_rows;
    *batch = (fkm_batch)FKM_BATCH_INIT;
    if (n > 0)
        *batch = data_batch(tape->data, tape->task, tape->at, n);
    tape->at += n;
    return FKM_OK;
}

static fkm_status tape_tell(void *user, char *position, size_t size)
{
    snprintf(position, size, "%lld", (long long)((struct tape *)user)->at);
    return FKM_OK;
}

static fkm_status tape_seek(void *user, const char *position)
{
    ((struct tape *)user)->at = position && position[0] ? strtoll(position, NULL, 10) : 0;
    return FKM_OK;
}

static fkm_source *open_tape(struct tape *tape)
{
    const fkm_source_functions functions = {
        .struct_size = sizeof functions, .next = tape_next, .seek = tape_seek, .tell = tape_tell};
    fkm_source *source;

    CHECK_OK(fkm_source_create(&functions, tape, &source));
    return source;
}

TEST(an_interrupted_stream_goes_on_from_its_checkpoint_and_ends_in_the_same_bits)
{
    struct data data = data_make(N, DIM, 3, 95);
    char path[256];

    snprintf(path, sizeof path, "/tmp/fkm-test-%ld-interrupt.fkm", (long)getpid());
    for (int gradient = 0; gradient < 2; gradient++) {
        struct scene scene = open_scene(FKM_TASK_CLASSIFY, &data, PLAIN);
        struct tape tape = {.data = &data, .task = FKM_TASK_CLASSIFY};
        fkm_source *source = open_tape(&tape);
        fkm_stream_options options = FKM_STREAM_OPTIONS_INIT, again;
        fkm_model *undisturbed;

        options.epochs = 2;
        options.gradient_step = gradient;
        again = options;
        again.resume = 1;
        options.checkpoint = path;
        CHECK_OK(fkm_model_copy(scene.model, &undisturbed));
        CHECK_OK(fkm_model_fit_source(undisturbed, source, &options));
        for (int64_t n = 1;; n = next_stop(n)) {
            struct user user = {.stop_at = n};
            fkm_model *model;
            fkm_status status;

            tape.at = 0;
            CHECK_OK(fkm_model_copy(scene.model, &model));
            enter_user(&user);
            status = fkm_model_fit_source(model, source, &options);
            leave_user();
            fkm_model_free(model);
            CHECK((status == FKM_OK) == (user.asked < n));
            if (status == FKM_OK)
                break;
            CHECK_STATUS(FKM_EINTERRUPTED, status);
            CHECK_INT(n, user.asked);
            CHECK_OK(fkm_model_load(context_of(1), path, &model));
            CHECK_OK(fkm_model_fit_source(model, source, &again));
            CHECK_SAME_BYTES(model_bytes(undisturbed), model_bytes(model));
            fkm_model_free(model);
            CHECK(n < MOST_ASKED);
        }
        fkm_model_free(undisturbed);
        fkm_source_close(source);
        close_scene(&scene);
    }
    CHECK(unlink(path) == 0);
    data_free(&data);
}

TEST(a_save_is_never_interrupted)
{
    struct data data = data_make(N, DIM, 3, 96);
    struct scene scene = open_scene(FKM_TASK_CLASSIFY, &data, TRAINED);
    struct user user = {.stop_at = 1};
    fkm_model *model;
    char path[256];

    snprintf(path, sizeof path, "/tmp/fkm-test-%ld-saved.fkm", (long)getpid());
    enter_user(&user);
    CHECK_OK(fkm_model_save(scene.model, path));
    leave_user();
    CHECK_INT(0, user.asked);
    CHECK_OK(fkm_model_load(context_of(1), path, &model));
    CHECK_SAME_BYTES(model_bytes(scene.model), model_bytes(model));
    CHECK(unlink(path) == 0);
    fkm_model_free(model);
    close_scene(&scene);
    data_free(&data);
}

/* ---- evaluations, and questions that ask for answers themselves */

TEST(an_interrupted_evaluation_counts_nothing)
{
    struct data data = data_make(N, DIM, 3, 97);

    for (int t = 0; t < 4; t++) {
        struct scene scene = open_scene(data_tasks[t], &data, PLAIN);
        const fkm_batch batch = whole(&scene), half = data_batch(&data, data_tasks[t], 0, N / 2);
        fkm_evaluation *evaluation;
        fkm_scores before = {.struct_size = sizeof before}, now = before;

        CHECK_OK(fkm_evaluation_create(scene.model, FKM_STRATEGY_ADAPTIVE, 1, &evaluation));
        CHECK_OK(fkm_evaluation_add(evaluation, &half));
        CHECK_OK(fkm_evaluation_scores(evaluation, &before));
        for (int64_t n = 1;; n = next_stop(n)) {
            struct user user = {.stop_at = n};
            fkm_status status;

            enter_user(&user);
            status = fkm_evaluation_add(evaluation, &batch);
            leave_user();
            CHECK((status == FKM_OK) == (user.asked < n));
            if (status == FKM_OK)
                break;
            CHECK_STATUS(FKM_EINTERRUPTED, status);
            CHECK_OK(fkm_evaluation_scores(evaluation, &now));
            CHECK(memcmp(&before, &now, sizeof now) == 0);
        }
        CHECK_OK(fkm_evaluation_scores(evaluation, &now));
        CHECK_INT(before.n_rows + N, now.n_rows);
        fkm_evaluation_free(evaluation);
        close_scene(&scene);
    }
    data_free(&data);
}

/* A user who asks the models for answers while they are at work. */
struct busy_user {
    struct scene *own, *other; /* own: only answers */
    int64_t asked, own_at;     /* the question at which the own model is asked */
    bool right;
};

static int ask_for_answers(void *argument)
{
    struct busy_user *user = argument;

    user->asked++;
    if (do_predict(user->other) != FKM_OK || do_fit_batch(user->other) != FKM_OK)
        user->right = false;
    if (user->asked == user->own_at && do_predict(user->own) != FKM_OK)
        user->right = false;
    return 0;
}

TEST(a_question_may_use_models_itself)
{
    struct data data = data_make(N, DIM, 3, 98);
    struct scene scene = open_scene(FKM_TASK_CLASSIFY, &data, PLAIN),
                 alone = open_scene(FKM_TASK_CLASSIFY, &data, PLAIN),
                 other = open_scene(FKM_TASK_REGRESS, &data, PLAIN);
    struct busy_user user = {.own = &scene, .other = &other, .right = true};

    fkmi_interrupt_every(0);
    for (int64_t at = 1; user.asked + 1 >= at; at++) {
        user.asked = 0;
        user.own_at = 0;
        fkm_set_interrupt(ask_for_answers, &user);
        CHECK_OK(do_fit_batch(&scene)); /* the next answer lays prototypes out anew */
        CHECK(user.asked > 0);
        user.asked = 0;
        user.own_at = at;
        CHECK_OK(do_predict(&scene));
        fkm_set_interrupt(NULL, NULL);
        CHECK_OK(do_fit_batch(&alone));
    }
    leave_user();
    CHECK(user.right && user.own_at > 3);
    CHECK_SAME_BYTES(model_bytes(alone.model), model_bytes(scene.model));
    close_scene(&scene);
    close_scene(&alone);
    close_scene(&other);
    data_free(&data);
}
