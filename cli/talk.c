/* talk.c — what the command says on stderr, and the signals it listens to.
 * SPDX-License-Identifier: Apache-2.0 */
#include "talk.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool quiet, line_is_open;
static volatile sig_atomic_t caught; /* the signal that asked us to stop */

/* ---- words */

void talk_quiet(bool be_quiet) { quiet = be_quiet; }
bool talk_is_quiet(void) { return quiet; }

static bool in_colour(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}

void say(const char *format, ...)
{
    if (quiet)
        return;
    talk_end_line();
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static void complain(const char *format, va_list arguments)
{
    talk_end_line();
    fputs(in_colour() ? "\033[1;31mfkm:\033[0m " : "fkm: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    return code;
}

int fail_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(format, arguments);
    va_end(arguments);
    if (command)
        fprintf(stderr, "Try 'fkm help %s'.\n", command);
    else
        fputs("Try 'fkm --help'.\n", stderr);
    return EXIT_USAGE;
}

static int code_of(fkm_status status, enum blame blame)
{
    switch (status) {
    case FKM_OK:
        return EXIT_FINE;
    case FKM_EINVAL:
        return blame == BLAME_OPTIONS                             ? EXIT_USAGE
               : blame == BLAME_ROWS || blame == BLAME_MODEL_FILE ? EXIT_BAD_DATA
                                                                  : EXIT_OTHER;
    case FKM_EDATA:
        return EXIT_BAD_DATA;
    case FKM_EUNSUPPORTED: /* a kind of file that is not read */
        return blame == BLAME_ROWS || blame == BLAME_MODEL_FILE ? EXIT_BAD_DATA : EXIT_OTHER;
    case FKM_EIO:
        return EXIT_IO;
    default:
        return EXIT_OTHER;
    }
}

int fail_status(fkm_status status, enum blame blame, const char *what)
{
    if (status == FKM_OK)
        return EXIT_FINE;
    if (status == FKM_EINTERRUPTED && interrupted())
        return interrupted_code();
    const char *message = fkm_last_error();
    const bool named = !what || strstr(message, what) != NULL;
    const int code = fail(code_of(status, blame), "%s%s%s", named ? "" : what, named ? "" : ": ", message);
    if (status == FKM_EINTERNAL)
        fail(code, "this is a defect of the library; please report it with the command line");
    return code;
}

/* ---- the line of progress */

bool talk_has_line(void) { return !quiet && isatty(STDERR_FILENO); }

void talk_line(const char *line)
{
    struct winsize window = {0};
    int width = 80;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        width = window.ws_col;
    fprintf(stderr, "\r\033[K%.*s", width - 1, line);
    fflush(stderr);
    line_is_open = true;
}

void talk_end_line(void)
{
    if (line_is_open)
        fputs("\r\033[K", stderr);
    line_is_open = false;
}

/* ---- signals */

static void on_signal(int signal_number)
{
    caught = signal_number;
    signal(SIGINT, SIG_DFL); /* the second one ends the program */
    signal(SIGTERM, SIG_DFL);
}

static int asked_by_library(void *unused)
{
    (void)unused;
    return interrupted();
}

void watch_signals(void)
{
    /* Without SA_RESTART: waiting for a pipe ends, too. */
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    struct sigaction now;
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    /* A shell starts background jobs with SIGINT ignored; that stays so. */
    if (sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a closed pipe comes back as EPIPE */
#ifdef SIGXFSZ
    sigaction(SIGXFSZ, &ignore, NULL); /* a file too large comes back as EFBIG */
#endif
    fkm_set_interrupt(asked_by_library, NULL); /* ends calls of many seconds */
}

bool interrupted(void) { return caught != 0; }

int interrupted_code_number(void) { return 128 + (caught ? (int)caught : SIGINT); }

int interrupted_code(void)
{
    static bool said;
    if (!said)
        fail(0, "interrupted");
    said = true;
    return interrupted_code_number();
}
