/* talk.h — what the command says on stderr: remarks, errors, and one line of progress on a terminal.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_TALK_H
#define FKM_CLI_TALK_H

#include <stdbool.h>

#include "exits.h"
#include "fastkmeans/fastkmeans.h"
#include "text.h"

/* Errors are said even when quiet. */
void talk_quiet(bool quiet);
bool talk_is_quiet(void);
/* A remark; ends its own line. */
void say(const char *format, ...) PRINTF_LIKE(1, 2);
/* Says the error and returns code. */
int fail(int code, const char *format, ...) PRINTF_LIKE(2, 3);
/* A usage error: the message, then where help is. */
int fail_usage(const char *command, const char *format, ...) PRINTF_LIKE(2, 3);

/* What a failing library call was busy with; decides the exit code. */
enum blame { BLAME_OPTIONS, BLAME_ROWS, BLAME_MODEL_FILE, BLAME_OUTPUT, BLAME_CALL };
/* Says fkm_last_error() with `what` (a file; may be NULL) in front and returns the exit code; 0 for FKM_OK.
 */
int fail_status(fkm_status status, enum blame blame, const char *what);

/* The line of progress: rewritten in place, cut to the terminal. Only while talk_has_line(). */
bool talk_has_line(void);
void talk_line(const char *line);
void talk_end_line(void); /* clears it */

/* Signals: the first SIGINT or SIGTERM asks to stop, the second ends the program at once. */
void watch_signals(void);
bool interrupted(void);
int interrupted_code(void);        /* 130 or 143, after saying so */
int interrupted_code_number(void); /* the same without a word */

#endif
