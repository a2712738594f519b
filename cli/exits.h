/* exits.h — how the command ends; the numbers of sysexits.h where one fits.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_EXITS_H
#define FKM_CLI_EXITS_H

enum exit_code {
    EXIT_FINE = 0,
    EXIT_OTHER = 1,          /* out of memory, a call that does not fit the model, ... */
    EXIT_USAGE = 2,          /* the command line or a configuration file */
    EXIT_BAD_DATA = 65,      /* rows or a model file that are not what they should be */
    EXIT_NO_INPUT = 66,      /* an input file is missing or not readable */
    EXIT_CANNOT_CREATE = 73, /* an output file cannot be created */
    EXIT_IO = 74,            /* reading or writing failed on the way */
    EXIT_CHECKPOINT = 75,    /* interrupted; the checkpoint is kept and --resume goes on from it */
    EXIT_CLOSED = 256        /* whoever read our output has gone: main() turns this into EXIT_FINE */
};

/* Returns at once on failure: only where nothing is owned. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        const int code_ = (call);                                                                            \
        if (code_ != EXIT_FINE)                                                                              \
            return code_;                                                                                    \
    } while (0)

/* Sets `code` and leaves by the `done` label. */
#define TRY_GOTO(call)                                                                                       \
    do {                                                                                                     \
        code = (call);                                                                                       \
        if (code != EXIT_FINE)                                                                               \
            goto done;                                                                                       \
    } while (0)

#endif
