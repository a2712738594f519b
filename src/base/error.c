/* error.c — this thread's last message, and the names of statuses.
 *
 * The message lives in a fixed buffer of the thread, so failing needs no memory and cannot fail itself.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[FKMI_MESSAGE_BYTES];

fkm_status fkmi_fail(fkm_status status, const char *format, ...)
{
    char text[FKMI_MESSAGE_BYTES]; /* an argument may be the old message itself */
    va_list arguments;

    va_start(arguments, format);
    if (vsnprintf(text, sizeof text, format, arguments) < 0)
        text[0] = '\0';
    va_end(arguments);
    memcpy(message, text, sizeof message);
    return status;
}

fkm_status fkmi_fail_within(fkm_status status, const char *where)
{
    return fkmi_fail(status, "%s: %s", where, message);
}

const char *fkm_last_error(void) { return message; }

const char *fkm_status_name(fkm_status status)
{
    switch (status) {
    case FKM_OK:
        return "FKM_OK";
    case FKM_EINVAL:
        return "FKM_EINVAL";
    case FKM_ENOMEM:
        return "FKM_ENOMEM";
    case FKM_EIO:
        return "FKM_EIO";
    case FKM_EDATA:
        return "FKM_EDATA";
    case FKM_ESTATE:
        return "FKM_ESTATE";
    case FKM_EUNSUPPORTED:
        return "FKM_EUNSUPPORTED";
    case FKM_EINTERRUPTED:
        return "FKM_EINTERRUPTED";
    case FKM_EINTERNAL:
        return "FKM_EINTERNAL";
    }
    return "unknown status";
}

const char *fkm_version(void) { return FKM_VERSION; }
