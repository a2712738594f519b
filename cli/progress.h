/* progress.h — one line on a terminal: how far, how fast, how long still.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_PROGRESS_H
#define FKM_CLI_PROGRESS_H

#include "fastkmeans/fastkmeans.h"

struct progress {
    double started, shown; /* seconds */
    const char *phase;     /* of the last call: a new phase starts the clock again */
    double first_part;     /* how far the phase was when the clock started */
};
void progress_start(struct progress *progress);
double progress_seconds(const struct progress *progress);
/* The library's callback; user is a struct progress. Asks to stop after a signal. */
int progress_learning(void *user, const fkm_progress *now);
/* Rows read or answered so far. */
void progress_rows(struct progress *progress, const char *verb, int64_t rows);

#endif
