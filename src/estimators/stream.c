/* stream.c — learning from a source batch by batch, with checkpoints that know their place in the stream.
 *
 * The place is stored in the model after each batch, so a checkpoint and its position cannot disagree: a run killed
 * at any moment and resumed from its checkpoint ends bitwise where an undisturbed one does.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "data/ahead.h"
#include "estimators/model.h"
#include "io/lines.h"

static fkm_status check_options(const fkm_stream_options *options, fkm_stream_options *full)
{
    const fkm_stream_options standard = FKM_STREAM_OPTIONS_INIT;

    *full = standard;
    if (options) {
        if (options->struct_size < sizeof(size_t) || options->struct_size > sizeof *full)
            return fkmi_fail(FKM_EINVAL, "fkm_stream_options has struct_size %zu, this library knows %zu",
                             options->struct_size, sizeof *full);
        memcpy(full, options, options->struct_size);
    }
    if (full->epochs < 1)
        return fkmi_fail(FKM_EINVAL, "epochs is %lld; it must be at least 1", (long long)full->epochs);
    if (full->checkpoint_batches < 0)
        return fkmi_fail(FKM_EINVAL, "checkpoint_batches is %lld; it must be >= 0",
                         (long long)full->checkpoint_batches);
    return FKM_OK;
}

/* Class names of the source as one note: a line each, with '\\' and newline escaped. */
static fkm_status note_class_names(fkm_model *model, const fkm_source *source)
{
    fkm_status status = FKM_OK;
    const int64_t n = fkm_source_class_count(source);
    size_t length = 1;
    char *text = NULL, *at;

    if (n == 0)
        return FKM_OK;
    for (int64_t i = 0; i < n; i++)
        length += 2 * strlen(fkm_source_class_name(source, i)) + 1;
    FKMI_TRY_GOTO(fkmi_alloc(&text, (int64_t)length, 1));
    at = text;
    for (int64_t i = 0; i < n; i++) {
        if (i > 0)
            *at++ = '\n';
        for (const char *c = fkm_source_class_name(source, i); *c; c++) {
            if (*c == '\\' || *c == '\n')
                *at++ = '\\';
            *at++ = *c == '\n' ? 'n' : *c;
        }
    }
    FKMI_TRY_GOTO(fkm_model_set_note(model, "class_names", text));
done:
    fkmi_free(text);
    return status;
}

/* Passes after the first begin with young prototypes, so that they can follow: ages restart each epoch. */
static void restart_ages(struct fkmi_state *state)
{
    for (int64_t j = 0; j < state->k; j++)
        state->mass[j] = 1;
    for (int64_t i = 0; state->ages && i < state->k * state->dim; i++)
        state->ages[i] = 1;
}

static fkm_status save(fkm_model *model, const fkm_source *source, const fkm_stream_options *options)
{
    FKMI_TRY(note_class_names(model, source));
    return options->checkpoint ? fkm_model_save(model, options->checkpoint) : FKM_OK;
}

/* What one stream has seen. */
struct flow {
    fkm_model *model;
    fkm_source *source;
    fkm_stream_options options;
    double loss, shift;
    int64_t unsaved;
};

static fkm_status learn_one(struct flow *flow, const fkm_batch *batch)
{
    fkm_model *model = flow->model;
    const fkm_status status = flow->options.gradient_step ? fkm_model_gradient_step(model, batch, &flow->loss)
                                                          : fkm_model_fit_batch(model, batch, &flow->shift);
    char where[32];

    if (status != FKM_EINVAL)
        return status;
    snprintf(where, sizeof where, "batch %lld",
             (long long)model->place.batch); /* rows count from its first */
    return fkmi_fail_within(status, where);
}

static fkm_status tell(const struct flow *flow)
{
    const fkm_model *model = flow->model;
    const fkm_progress progress = {.phase = flow->options.gradient_step ? "finetune" : "fit",
                                   .step = model->place.batch,
                                   .epoch = model->place.epoch + 1,
                                   .epochs = flow->options.epochs,
                                   .rows = model->place.rows,
                                   .loss = flow->loss,
                                   .shift = flow->shift,
                                   .eval = NAN,
                                   .k = model->learned.state.k};

    if (flow->options.progress && flow->options.progress(flow->options.user, &progress) != 0)
        return fkmi_fail(FKM_EINTERRUPTED, "interrupted after %lld batches", (long long)model->place.batch);
    return FKM_OK;
}

/* From the model's place to the end of the epoch. */
static fkm_status learn_epoch(struct flow *flow, int64_t *rows_of_epoch)
{
    fkm_model *model = flow->model;
    const int64_t max_rows =
        flow->options.gradient_step ? model->params.finetune_batch_size : model->params.batch_size;

    for (;;) {
        fkm_batch batch = FKM_BATCH_INIT;
        char position[FKMI_POSITION_BYTES];
        FKMI_TRY(fkm_source_next(flow->source, max_rows, &batch));
        if (batch.n_rows == 0)
            return FKM_OK;
        FKMI_TRY(fkm_source_tell(flow->source, position, sizeof position));
        if (!fkmi_is_utf8(position, strlen(position)))
            return fkmi_fail(FKM_EINVAL, "the source's position is not UTF-8: no file could hold it");
        FKMI_TRY(learn_one(flow, &batch));
        memcpy(model->place.position, position, sizeof position);
        model->place.batch++;
        model->place.rows += batch.n_rows;
        *rows_of_epoch += batch.n_rows;
        flow->unsaved++;
        if (flow->options.checkpoint_batches > 0 && flow->unsaved >= flow->options.checkpoint_batches) {
            FKMI_TRY(save(model, flow->source, &flow->options));
            flow->unsaved = 0;
        }
        FKMI_TRY(tell(flow));
    }
}

/* The source where the model's place says. The first epoch of a fresh run reads on from wherever the source is, so
 * that standard input works. */
static fkm_status find_place(const struct flow *flow, bool fresh)
{
    const struct fkmi_place *place = &flow->model->place;

    if (place->position[0] != '\0')
        return fkm_source_seek(flow->source, place->position);
    if (place->epoch == 0 && fresh)
        return FKM_OK;
    FKMI_TRY(fkm_source_seek(flow->source, NULL));
    if (place->epoch > 0 && !flow->options.gradient_step)
        restart_ages(&flow->model->learned.state);
    return FKM_OK;
}

fkm_status fkm_model_fit_source(fkm_model *model, fkm_source *source, const fkm_stream_options *given)
{
    fkm_status status = FKM_OK;
    struct flow flow = {.model = model, .source = source, .loss = NAN, .shift = NAN};

    if (!model || !source)
        return fkmi_fail(FKM_EINVAL, "%s is NULL", model ? "source" : "model");
    FKMI_TRY(check_options(given, &flow.options));
    if (!flow.options.resume)
        memset(&model->place, 0, sizeof model->place);
    FKMI_TRY(fkmi_ahead_begin(source));
    while (model->place.epoch < flow.options.epochs) {
        const bool midway = model->place.position[0] != '\0';
        int64_t rows_of_epoch = 0;
        FKMI_TRY_GOTO(find_place(&flow, !flow.options.resume));
        FKMI_TRY_GOTO(learn_epoch(&flow, &rows_of_epoch));
        if (rows_of_epoch == 0 && !midway)
            FKMI_TRY_GOTO(fkmi_fail(FKM_EINVAL, "the source has no rows"));
        model->place.epoch++;
        model->place.position[0] = '\0';
    }
done:
    fkmi_ahead_end(source);
    if (status == FKM_OK || status == FKM_EINTERRUPTED) {
        const fkm_status saved = save(model, source, &flow.options);
        status = saved != FKM_OK ? saved : status;
    }
    return status;
}
