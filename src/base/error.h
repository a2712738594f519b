/* error.h — statuses with a message: "batch has 12 columns, the model expects 10".
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_ERROR_H
#define FKMI_BASE_ERROR_H

#include "fastkmeans/fastkmeans.h"

#if defined(__GNUC__)
#define FKMI_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define FKMI_PRINTF(format_at, first_at)
#endif

#define FKMI_MESSAGE_BYTES 1024 /* a longer message is cut */

/* Stores this thread's message and returns status. */
fkm_status fkmi_fail(fkm_status status, const char *format, ...) FKMI_PRINTF(2, 3);
/* The same message again with words in front ("eval: ..."); returns status. */
fkm_status fkmi_fail_within(fkm_status status, const char *where);

/* Returns at once on failure: only where nothing is owned. */
#define FKMI_TRY(call)                                                                                       \
    do {                                                                                                     \
        const fkm_status fkmi_status_ = (call);                                                              \
        if (fkmi_status_ != FKM_OK)                                                                          \
            return fkmi_status_;                                                                             \
    } while (0)

/* Sets `status` and leaves by the `done` label. */
#define FKMI_TRY_GOTO(call)                                                                                  \
    do {                                                                                                     \
        status = (call);                                                                                     \
        if (status != FKM_OK)                                                                                \
            goto done;                                                                                       \
    } while (0)

#endif
