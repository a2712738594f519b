/* test_model_threads.c — the number of threads and the split of a call change no bit; forks and threads are safe.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "support/data.h"

static fkm_model *learned_with(fkm_task task, const struct data *data, int n_threads)
{
    fkm_params params = data_params(task);
    const fkm_batch first = data_batch(data, task, 0, data->n / 2),
                    second = data_batch(data, task, data->n / 2, data->n / 2);
    fkm_finetune_options options = FKM_FINETUNE_OPTIONS_INIT;
    fkm_model *model;

    params.diversity_reg = 0.01;
    options.epochs = 2;
    CHECK_OK(fkm_model_create(context_of(n_threads), &params, &model));
    CHECK_OK(fkm_model_fit(model, &first, NULL));
    CHECK_OK(fkm_model_fit_batch(model, &second, NULL));
    CHECK_OK(fkm_model_finetune(model, &first, &options));
    return model;
}

TEST(any_number_of_threads_learns_the_same_bits)
{
    struct data data = data_make(1200, 9, 4, 60);

    for (int t = 0; t < 4; t++) {
        fkm_model *one = learned_with(data_tasks[t], &data, 1);
        for (int n = 2; n <= 16; n = n < 4 ? n + 1 : 2 * n) {
            fkm_model *many = learned_with(data_tasks[t], &data, n);
            CHECK_SAME_BYTES(model_bytes(one), model_bytes(many));
            fkm_model_free(many);
        }
        fkm_model_free(one);
    }
    data_free(&data);
}

TEST(any_split_of_a_predict_call_answers_the_same_bits)
{
    struct data data = data_make(700, 9, 4, 61);
    fkm_model *classifier = learned_with(FKM_TASK_CLASSIFY, &data, 2),
              *regressor = learned_with(FKM_TASK_REGRESS, &data, 2);
    float *whole = calloc(700 * 4, sizeof *whole), *parts = calloc(700 * 4, sizeof *parts);
    double *values = calloc(700 * 2, sizeof *values), *value_parts = calloc(700 * 2, sizeof *value_parts);
    const fkm_batch all = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    const int64_t steps[] = {1, 13, 255, 256, 699};

    CHECK_OK(fkm_model_predict_proba(classifier, &all, whole));
    CHECK_OK(fkm_model_predict_values(regressor, &all, values));
    for (int s = 0; s < 5; s++) {
        for (int64_t first = 0; first < data.n; first += steps[s]) {
            const int64_t n = data.n - first < steps[s] ? data.n - first : steps[s];
            const fkm_batch part = data_batch(&data, FKM_TASK_CLASSIFY, first, n);
            CHECK_OK(fkm_model_predict_proba(classifier, &part, parts + 4 * first));
            CHECK_OK(fkm_model_predict_values(regressor, &part, value_parts + 2 * first));
        }
        CHECK(memcmp(whole, parts, 700 * 4 * sizeof *whole) == 0);
        CHECK(memcmp(values, value_parts, 700 * 2 * sizeof *values) == 0);
    }
    free(whole);
    free(parts);
    free(values);
    free(value_parts);
    fkm_model_free(classifier);
    fkm_model_free(regressor);
    data_free(&data);
}

TEST(a_forked_child_goes_on_working)
{
    struct data data = data_make(800, 9, 4, 62);
    fkm_model *model = learned_with(FKM_TASK_CLASSIFY, &data, 4), *copy;
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    int64_t *labels = calloc(800, sizeof *labels), *in_child = calloc(800, sizeof *in_child);
    int pipe_ends[2], how;

    CHECK_OK(fkm_model_predict_labels(model, &batch, labels));
    CHECK(pipe(pipe_ends) == 0);
    fflush(stdout);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ssize_t written = 0;
        if (fkm_model_predict_labels(model, &batch, labels) == FKM_OK &&
            fkm_model_copy(model, &copy) == FKM_OK && fkm_model_fit_batch(copy, &batch, NULL) == FKM_OK)
            written = write(pipe_ends[1], labels, 800 * sizeof *labels);
        _exit(written == (ssize_t)(800 * sizeof *labels) ? 0 : 1);
    }
    size_t got = 0;
    close(pipe_ends[1]);
    for (ssize_t some; (some = read(pipe_ends[0], (char *)in_child + got, 800 * sizeof *in_child - got)) > 0;)
        got += (size_t)some;
    close(pipe_ends[0]);
    CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    CHECK(memcmp(labels, in_child, 800 * sizeof *labels) == 0);
    CHECK_OK(fkm_model_predict_labels(model, &batch, in_child));
    CHECK(memcmp(labels, in_child, 800 * sizeof *labels) == 0);
    free(labels);
    free(in_child);
    fkm_model_free(model);
    data_free(&data);
}

struct asker {
    const fkm_model *model;
    const fkm_batch *batch;
    int64_t labels[800];
    fkm_status status;
};

static void *ask(void *argument)
{
    struct asker *asker = argument;

    for (int i = 0; i < 20 && asker->status == FKM_OK; i++)
        asker->status = fkm_model_predict_labels(asker->model, asker->batch, asker->labels);
    return NULL;
}

TEST(eight_threads_ask_one_model_at_once)
{
    enum { ASKERS = 8 };
    struct data data = data_make(800, 9, 4, 63);
    fkm_model *model = learned_with(FKM_TASK_CLASSIFY, &data, 2);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    struct asker *askers = calloc(ASKERS, sizeof *askers);
    pthread_t threads[ASKERS];

    for (int i = 0; i < ASKERS; i++) { /* no answer before: the first ones race to pack the prototypes */
        askers[i].model = model;
        askers[i].batch = &batch;
        CHECK(pthread_create(&threads[i], NULL, ask, &askers[i]) == 0);
    }
    for (int i = 0; i < ASKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < ASKERS; i++) {
        CHECK_INT(FKM_OK, askers[i].status);
        CHECK(memcmp(askers[0].labels, askers[i].labels, sizeof askers[i].labels) == 0);
    }
    free(askers);
    fkm_model_free(model);
    data_free(&data);
}

/* ---- one model is taught and interrupted while another answers */

struct teacher {
    const fkm_batch *batch;
    fkm_model *model;
    int left;         /* questions until it says stop */
    int interrupted;  /* calls */
    fkm_status worst; /* neither FKM_OK nor FKM_EINTERRUPTED */
};

static int stop_soon(void *argument)
{
    struct teacher *teacher = argument;

    return --teacher->left == 0;
}

static void *teach(void *argument)
{
    struct teacher *teacher = argument;

    fkm_set_interrupt(stop_soon, teacher);
    for (int i = 0; i < 60; i++) {
        fkm_status status;
        teacher->left = 1 + 3 * i;
        status = i % 2 ? fkm_model_fit_batch(teacher->model, teacher->batch, NULL)
                       : fkm_model_gradient_step(teacher->model, teacher->batch, NULL);
        teacher->interrupted += status == FKM_EINTERRUPTED;
        if (status != FKM_OK && status != FKM_EINTERRUPTED)
            teacher->worst = status;
    }
    fkm_set_interrupt(NULL, NULL);
    return NULL;
}

TEST(interrupts_of_one_thread_leave_the_answers_of_another_alone)
{
    struct data data = data_make(800, 9, 4, 64);
    fkm_model *model = learned_with(FKM_TASK_CLASSIFY, &data, 3),
              *taught = learned_with(FKM_TASK_CLASSIFY, &data, 3);
    const fkm_batch batch = data_batch(&data, FKM_TASK_CLASSIFY, 0, data.n);
    struct teacher teacher = {.batch = &batch, .model = taught};
    struct asker *askers = calloc(2, sizeof *askers);
    pthread_t threads[2];

    fkmi_interrupt_every(0);
    askers[0].model = askers[1].model = model;
    askers[0].batch = askers[1].batch = &batch;
    ask(&askers[0]);
    CHECK(pthread_create(&threads[0], NULL, ask, &askers[1]) == 0);
    CHECK(pthread_create(&threads[1], NULL, teach, &teacher) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    fkmi_interrupt_every(-1);
    CHECK_INT(FKM_OK, askers[1].status);
    CHECK(memcmp(askers[0].labels, askers[1].labels, sizeof askers[0].labels) == 0);
    CHECK_INT(FKM_OK, teacher.worst);
    CHECK(teacher.interrupted > 0);
    free(askers);
    fkm_model_free(model);
    fkm_model_free(taught);
    data_free(&data);
}
