/* progress.c — one line on a terminal: how far, how fast, how long still.
 * SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "talk.h"

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_start(struct progress *progress) { *progress = (struct progress){.started = seconds_now()}; }

double progress_seconds(const struct progress *progress) { return seconds_now() - progress->started; }

/* Ten times a second is enough for eyes. */
static bool is_due(struct progress *progress)
{
    const double now = seconds_now();
    if (!talk_has_line() || now - progress->shown < 0.1)
        return false;
    progress->shown = now;
    return true;
}

static void add_bar(struct text *line, double part)
{
    enum { CELLS = 16 };
    char bar[CELLS + 1];
    const int full = (int)(part * CELLS);
    for (int i = 0; i < CELLS; i++)
        bar[i] = i < full ? '#' : '-';
    bar[CELLS] = '\0';
    text_printf(line, " [%s] %3.0f %%", bar, 100 * part);
}

static void add_rate(struct text *line, double rate)
{
    char number[NUMBER_BYTES];
    text_printf(line, "  %s rows/s", count_text(number, (int64_t)rate));
}

static void add_left(struct text *line, double seconds)
{
    if (!isfinite(seconds) || seconds >= 360000)
        return;
    const int whole = (int)ceil(seconds);
    if (whole >= 3600)
        text_printf(line, "  %d:%02d:%02d left", whole / 3600, whole / 60 % 60, whole % 60);
    else
        text_printf(line, "  %d:%02d left", whole / 60, whole % 60);
}

/* How much of the call is done, in [0, 1]; NaN when unknown. */
static double part_done(const fkm_progress *now)
{
    if (now->steps <= 0 && now->epochs <= 0)
        return NAN;
    const double part = now->steps > 0 ? (double)now->step / (double)now->steps
                                       : (double)(now->epoch > 0 ? now->epoch - 1 : 0) / (double)now->epochs;
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

int progress_learning(void *user, const fkm_progress *now)
{
    struct progress *progress = user;
    const double part = part_done(now);

    if (!progress->phase || strcmp(progress->phase, now->phase) != 0) {
        progress->phase = now->phase;
        progress->started = seconds_now();
        progress->first_part = isnan(part) ? 0 : part;
    }
    if (is_due(progress)) {
        struct text line = {0};
        const double passed = seconds_now() - progress->started;
        text_printf(&line, "%s: epoch %" PRId64, now->phase, now->epoch);
        if (now->epochs > 0)
            text_printf(&line, "/%" PRId64, now->epochs);
        if (!isnan(part))
            add_bar(&line, part);
        if (passed > 0.5 && part > progress->first_part)
            add_left(&line, passed * (1 - part) / (part - progress->first_part));
        if (passed > 0.5 && now->rows > 0)
            add_rate(&line, (double)now->rows / passed);
        if (isfinite(now->loss))
            text_printf(&line, "  loss %.4g", now->loss);
        if (isfinite(now->eval))
            text_printf(&line, "  eval %.4g", now->eval);
        talk_line(line.bytes);
        text_free(&line);
    }
    return interrupted();
}

void progress_rows(struct progress *progress, const char *verb, int64_t rows)
{
    if (!is_due(progress))
        return;
    struct text line = {0};
    char number[NUMBER_BYTES];
    const double passed = seconds_now() - progress->started;
    text_printf(&line, "%s: %s rows", verb, count_text(number, rows));
    if (passed > 0.5)
        add_rate(&line, (double)rows / passed);
    talk_line(line.bytes);
    text_free(&line);
}
