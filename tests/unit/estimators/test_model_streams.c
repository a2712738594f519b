/* test_model_streams.c — learning from a source: checkpoints know their place, and a resumed run ends bitwise where an
 * undisturbed one does.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "support/data.h"

/* A source over rows in memory; its position is the row number. */
struct tape {
    const struct data *data;
    fkm_task task;
    int64_t at;
    fkm_batch batch;
};

static fkm_status tape_next(void *self, int64_t max_rows, fkm_batch *batch)
{
    struct tape *tape = self;
    const int64_t left = tape->data->n - tape->at, n = left < max_rows ? left : max_rows;

    *batch = (fkm_batch)FKM_BATCH_INIT;
    if (n > 0)
        *batch = data_batch(tape->data, tape->task, tape->at, n);
    tape->at += n;
    return FKM_OK;
}

static fkm_status tape_seek(void *self, const char *position)
{
    ((struct tape *)self)->at = position ? strtoll(position, NULL, 10) : 0;
    return FKM_OK;
}

static fkm_status tape_tell(void *self, char *position, size_t size)
{
    snprintf(position, size, "%lld", (long long)((struct tape *)self)->at);
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

static fkm_model *new_model(fkm_task task)
{
    fkm_params params = data_params(task);
    fkm_model *model;

    params.batch_size = 50;
    CHECK_OK(fkm_model_create(context_of(2), &params, &model));
    return model;
}

static int stop_at(void *user, const fkm_progress *progress)
{
    (void)progress;
    return --*(int *)user <= 0;
}

TEST(a_stream_is_its_batches_one_by_one)
{
    struct data data = data_make(330, 4, 3, 70);

    for (int t = 0; t < 4; t++) {
        struct tape tape = {.data = &data, .task = data_tasks[t]};
        fkm_source *source = open_tape(&tape);
        fkm_model *streamed = new_model(data_tasks[t]), *by_hand = new_model(data_tasks[t]);
        double a[400], b[400];
        fkm_model_info info = {.struct_size = sizeof info}, other = info;
        CHECK_OK(fkm_model_fit_source(streamed, source, NULL));
        for (int64_t first = 0; first < data.n; first += 50) {
            const fkm_batch batch =
                data_batch(&data, data_tasks[t], first, data.n - first < 50 ? data.n - first : 50);
            CHECK_OK(fkm_model_fit_batch(by_hand, &batch, NULL));
        }
        CHECK_OK(fkm_model_describe(streamed, &info));
        CHECK_OK(fkm_model_describe(by_hand, &other));
        CHECK_INT(7, info.batches);
        CHECK_INT(other.k, info.k);
        CHECK_OK(fkm_model_centroids(streamed, a));
        CHECK_OK(fkm_model_centroids(by_hand, b));
        CHECK(memcmp(a, b, (size_t)(info.k * info.dim) * sizeof *a) == 0);
        fkm_model_free(streamed);
        fkm_model_free(by_hand);
        fkm_source_close(source);
    }
    data_free(&data);
}

TEST(a_run_stopped_anywhere_and_resumed_ends_in_the_same_bits)
{
    struct data data = data_make(330, 4, 3, 71);
    char path[256];

    snprintf(path, sizeof path, "/tmp/fkm-test-%ld-resume.fkm", (long)getpid());
    for (int gradient = 0; gradient < 2; gradient++)
        for (int batches = 1; batches <= 20; batches += 3) {
            struct tape tape = {.data = &data, .task = FKM_TASK_CLASSIFY}, again = tape;
            fkm_source *source = open_tape(&tape), *fresh = open_tape(&again);
            fkm_model *whole = new_model(FKM_TASK_CLASSIFY), *stopped = new_model(FKM_TASK_CLASSIFY),
                      *resumed;
            fkm_stream_options options = FKM_STREAM_OPTIONS_INIT;
            const fkm_batch all = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
            int left = batches;
            if (gradient) {
                CHECK_OK(fkm_model_fit(whole, &all, NULL));
                CHECK_OK(fkm_model_fit(stopped, &all, NULL));
            }
            options.epochs = 3;
            options.gradient_step = gradient;
            CHECK_OK(fkm_model_fit_source(whole, source, &options));
            tape.at = 0;
            options.checkpoint = path;
            options.progress = stop_at;
            options.user = &left;
            CHECK_STATUS(FKM_EINTERRUPTED, fkm_model_fit_source(stopped, source, &options));
            fkm_model_free(stopped);
            CHECK_OK(fkm_model_load(context_of(2), path, &resumed));
            options.progress = NULL;
            options.checkpoint = NULL;
            options.resume = 1;
            CHECK_OK(fkm_model_fit_source(resumed, fresh, &options));
            CHECK_SAME_BYTES(model_bytes(whole), model_bytes(resumed));
            fkm_model_free(whole);
            fkm_model_free(resumed);
            fkm_source_close(source);
            fkm_source_close(fresh);
        }
    CHECK(unlink(path) == 0);
    data_free(&data);
}

TEST(more_epochs_go_on_where_a_finished_run_ended)
{
    struct data data = data_make(200, 4, 3, 72);
    struct tape tape = {.data = &data, .task = FKM_TASK_CLUSTER}, again = tape;
    fkm_source *source = open_tape(&tape), *fresh = open_tape(&again);
    fkm_model *whole = new_model(FKM_TASK_CLUSTER), *parts = new_model(FKM_TASK_CLUSTER);
    fkm_stream_options options = FKM_STREAM_OPTIONS_INIT;

    options.epochs = 3;
    CHECK_OK(fkm_model_fit_source(whole, source, &options));
    options.epochs = 1;
    CHECK_OK(fkm_model_fit_source(parts, fresh, &options));
    options.epochs = 3;
    options.resume = 1;
    CHECK_OK(fkm_model_fit_source(parts, fresh, &options));
    CHECK_SAME_BYTES(model_bytes(whole), model_bytes(parts));
    fkm_model_free(whole);
    fkm_model_free(parts);
    fkm_source_close(source);
    fkm_source_close(fresh);
    data_free(&data);
}

TEST(an_empty_source_is_refused)
{
    struct data data = data_make(10, 2, 2, 73);
    struct tape tape = {.data = &data, .task = FKM_TASK_CLUSTER, .at = 10};
    fkm_source *source = open_tape(&tape);
    fkm_model *model = new_model(FKM_TASK_CLUSTER);

    CHECK_STATUS(FKM_EINVAL, fkm_model_fit_source(model, source, NULL));
    CHECK_SAYS("no rows", fkm_last_error());
    fkm_model_free(model);
    fkm_source_close(source);
    data_free(&data);
}
