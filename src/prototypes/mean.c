/* mean.c — the weighted mean row of a view: one prototype that all rows are assigned to.
 * SPDX-License-Identifier: Apache-2.0 */
#include "prototypes/mean.h"

#define ROWS_AT_ONCE 16384

fkm_status fkmi_mean_row(struct fkm_context *context, const struct fkmi_space *space,
                         const struct fkmi_rows *rows, double *mean)
{
    const int64_t block = rows->n < ROWS_AT_ONCE ? rows->n : ROWS_AT_ONCE;
    fkm_status status = FKM_OK;
    double *sum = NULL, *ages = NULL, mass = 0;
    int32_t *index = NULL;

    FKMI_TRY_GOTO(fkmi_alloc(&index, block, sizeof *index)); /* all 0 */
    FKMI_TRY_GOTO(fkmi_alloc(&sum, rows->dim, sizeof *sum));
    if (rows->mask)
        FKMI_TRY_GOTO(fkmi_alloc(&ages, rows->dim, sizeof *ages));
    for (int64_t i = 0; i < rows->n; i += block) {
        const struct fkmi_rows slice = fkmi_rows_slice(rows, i, rows->n - i < block ? rows->n - i : block);
        FKMI_TRY_GOTO(
            context->backend->accumulate(context, &slice, space, index, NULL, 0, 1, sum, &mass, ages));
    }
    for (int64_t d = 0; d < rows->dim; d++) {
        const double seen = ages ? ages[d] : mass;
        mean[d] = seen > 0 ? sum[d] / seen : 0;
    }
done:
    fkmi_free(index);
    fkmi_free(sum);
    fkmi_free(ages);
    return status;
}
