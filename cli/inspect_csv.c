/* inspect_csv.c — the history and the prototypes of a model as CSV.
 * SPDX-License-Identifier: Apache-2.0 */
#include "inspect.h"
#include "talk.h"

int inspect_history_csv(struct inspect *model)
{
    struct output *output = &model->output;
    output_puts(output, "phase,epoch,loss,shift,eval,lr,k\n");
    for (int64_t i = 0; i < model->info.n_history; i++) {
        fkm_history entry = {.struct_size = sizeof entry};
        TRY(fail_status(fkm_model_history(model->model, i, &entry), BLAME_CALL, NULL));
        output_field(output, entry.phase, true, ',');
        output_int(output, entry.epoch, false, ',');
        output_real(output, entry.loss, false, ',');
        output_real(output, entry.shift, false, ',');
        output_real(output, entry.eval, false, ',');
        output_real(output, entry.lr, false, ',');
        output_int(output, entry.k, false, ',');
        output_puts(output, "\n");
    }
    return EXIT_FINE;
}

static void print_header(struct inspect *model, const struct names *targets)
{
    char number[NUMBER_BYTES];
    output_puts(&model->output, "prototype,mass");
    if (model->label)
        output_puts(&model->output, model->schema.task == FKM_TASK_CLASSIFY ? ",class" : ",tag");
    for (int64_t t = 0; t < targets->n; t++)
        output_field(&model->output, targets->name[t], false, ',');
    for (int64_t d = 0; d < model->info.dim; d++)
        output_field(&model->output, schema_column(&model->schema, d, number), false, ',');
    output_puts(&model->output, "\n");
}

/* Prototypes of standardized rows are told in the units of the data. */
static double in_units(const struct inspect *model, int64_t j, int64_t d)
{
    const struct standard *standard = &model->schema.standard;
    const double value = model->points[j * model->info.dim + d];
    return standard->n > 0 ? value * standard->deviation[d] + standard->mean[d] : value;
}

int inspect_centroids_csv(struct inspect *model)
{
    struct names targets = {0};
    char number[NUMBER_BYTES];
    if (!model->points)
        return fail(EXIT_OTHER, "the model has not learned anything yet");
    if (model->targets)
        schema_targets(&model->schema, model->info.n_targets, &targets);
    print_header(model, &targets);
    for (int64_t j = 0; j < model->info.k; j++) {
        output_int(&model->output, j, true, ',');
        output_real(&model->output, model->mass[j], false, ',');
        if (model->label)
            output_field(&model->output, schema_class(&model->schema, model->label[j], number), false, ',');
        for (int64_t t = 0; t < targets.n; t++)
            output_real(&model->output, model->targets[j * targets.n + t], false, ',');
        for (int64_t d = 0; d < model->info.dim; d++)
            output_real(&model->output, in_units(model, j, d), false, ',');
        output_puts(&model->output, "\n");
    }
    names_free(&targets);
    return EXIT_FINE;
}
