/* ahead.h — a thread that reads a source's next batch while the last one is being learned.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_DATA_AHEAD_H
#define FKMI_DATA_AHEAD_H

#include "data/source.h"

/* From begin to end a thread reads batches one ahead, and everything else that the source is asked answers as if it did
 * not (only names of classes may be known early, once batches of another size are asked for). What was read but not
 * handed out at the end waits in the source for whoever asks next. Does nothing for sources
 * that want to be read by their caller. Begin and end do not nest. */
fkm_status fkmi_ahead_begin(fkm_source *source);
void fkmi_ahead_end(fkm_source *source);

/* ---- for source.c: what the source answers while it has an `ahead` */

fkm_status fkmi_ahead_next(struct fkmi_ahead *ahead, int64_t max_rows, fkm_batch *batch);
fkm_status fkmi_ahead_seek(struct fkmi_ahead *ahead, const char *position);
fkm_status fkmi_ahead_tell(struct fkmi_ahead *ahead, char *position, size_t size);
/* Classes known once the batch handed out was read. The thread rests from then to the next batch: the source's words
 * can be read. */
int64_t fkmi_ahead_class_count(struct fkmi_ahead *ahead);
void fkmi_ahead_rest(struct fkmi_ahead *ahead);
void fkmi_ahead_free(struct fkmi_ahead *ahead); /* NULL is fine */

#endif
