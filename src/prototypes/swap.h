/* swap.h — a clusterer's way out of a poor optimum: a prototype that is hardly missed goes where one is
 * missing.
 *
 * When passes have nearly settled, a scan for the two nearest prototypes of each row tells what each one's
 * removal would cost, and two means inside the cells with the largest sums tell what a second prototype would
 * gain there. Swaps that promise a gain are tried together, later one by one; passes go on from there, and
 * the points before come back unless the sum of distances has fallen below theirs. When no try is left,
 * single rows change sides (polish.h) until none gains.
 *
 * A look takes a part of the rows where there are many to a prototype. A fit that is stopped in the middle of a try
 * goes back to where that began, unless it has gained by then.
 *
 * Cost: a look or a sweep of changing sides costs about one pass at most; tries spend the passes that max_iters
 * leaves, but not its last third, and end after 8 failures in a row. Memory: no more for more rows, since the
 * cells' arrays serve between passes; a copy of the points and a quarter of one while tries last. Only for
 * dense rows without a mask, hard assignment, one class, nothing frozen. SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_PROTOTYPES_SWAP_H
#define FKMI_PROTOTYPES_SWAP_H

#include "prototypes/cells.h"

struct fkmi_swaps;

bool fkmi_swaps_possible(const fkm_params *params, const struct fkmi_state *state,
                         const struct fkmi_rows *rows);
/* pack: the passes' own, which is free between them. */
fkm_status fkmi_swaps_create(struct fkm_context *context, const fkm_params *params, struct fkmi_state *state,
                             const struct fkmi_rows *rows, struct fkmi_pack **pack, int64_t most_passes,
                             struct fkmi_swaps **out);
void fkmi_swaps_free(struct fkmi_swaps *swaps); /* NULL is fine */
/* After a pass that found sum_distance (of the points before it moved them): may change the state's points.
 * Of the cells only masses and totals are left as they were: the next pass gathers the rest anew.
 * settled: no prototype moved further than tol. passes_left: at least 1. *over: no more tries, and no row
 * gains by changing sides. */
fkm_status fkmi_swaps_after_pass(struct fkmi_swaps *swaps, struct fkmi_cells *cells, bool settled,
                                 int64_t passes_left, bool *over);

/* Instead, where the passes end before their time: goes back from a try that has not gained. */
void fkmi_swaps_stop(struct fkmi_swaps *swaps, const struct fkmi_cells *cells);
/* Before another pass is whole: the state is what the last one, or the one before a try, has left. NULL is fine. */
void fkmi_swaps_undo(struct fkmi_swaps *swaps);

#endif
