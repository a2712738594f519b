/* output.c — results: to stdout, or to a file that appears whole or not at all.
 * SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "talk.h"

/* The file a name stands for, through symbolic links, so that replacing it keeps the link. */
static char *target_of(const char *path)
{
    char *real = realpath(path, NULL);
    if (real) {
        char *copy = need_copy(real);
        free(real);
        return copy;
    }
    return need_copy(path);
}

static char *folder_of(const char *path)
{
    char *folder = need_copy(path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        strcpy(folder, "."); /* path is not empty, so "." fits */
    else
        slash[slash == folder] = '\0';
    return folder;
}

/* Devices and pipes are written directly: renaming would replace them. */
static bool is_special(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

int output_possible(const char *path)
{
    struct stat info;
    char *target = target_of(path), *folder = folder_of(target);
    const bool exists = stat(path, &info) == 0;
    int code = EXIT_FINE;
    if (!exists && lstat(path, &info) == 0)
        code = fail(EXIT_CANNOT_CREATE, "cannot create %s: the symbolic link leads nowhere", path);
    else if (exists && !S_ISREG(info.st_mode))
        code = fail(EXIT_CANNOT_CREATE, "cannot create %s: it is %s", path,
                    S_ISDIR(info.st_mode) ? "a folder" : "not a file");
    else if (access(folder, W_OK | X_OK) != 0)
        code = fail(EXIT_CANNOT_CREATE, "cannot create %s: %s: %s", path, folder, strerror(errno));
    free(folder);
    free(target);
    return code;
}

/* Opens and locks it; the leftover of a writer that was killed is taken over. EBUSY: it is being written already. */
static FILE *open_partial(const char *path)
{
    struct stat ours, named;
    int descriptor;
    for (;;) {
        descriptor = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
        if (descriptor < 0)
            return NULL;
        if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(descriptor);
            errno = EBUSY;
            return NULL;
        }
        if (fstat(descriptor, &ours) == 0 && lstat(path, &named) == 0 && ours.st_dev == named.st_dev &&
            ours.st_ino == named.st_ino)
            break;
        close(descriptor); /* the writer before us has renamed it */
    }
    FILE *file = ftruncate(descriptor, 0) == 0 ? fdopen(descriptor, "wb") : NULL;
    if (!file)
        close(descriptor);
    return file;
}

static void take_over_permissions(const struct output *output, mode_t more)
{
    struct stat old;
    if (stat(output->path, &old) == 0)
        (void)fchmod(fileno(output->file), (old.st_mode & 0777) | more);
}

int output_open(struct output *output, const char *path)
{
    *output = (struct output){0};
    if (!path || strcmp(path, "-") == 0) {
        output->file = stdout;
        output->name = "standard output";
        return EXIT_FINE;
    }
    output->name = path;
    if (is_special(path)) {
        output->file = fopen(path, "wb");
    } else {
        TRY(output_possible(path));
        struct text partial = {0};
        output->path = target_of(path);
        text_printf(&partial, "%s.partial", output->path);
        output->file = open_partial(partial.bytes);
        if (output->file) {
            output->partial = partial.bytes;
            take_over_permissions(output, S_IWUSR); /* nobody else may read half of a private file either */
        } else {
            free(partial.bytes);
        }
    }
    if (!output->file) {
        const int code = fail(EXIT_CANNOT_CREATE, "cannot create %s: %s", path,
                              errno == EBUSY ? "it is being written already" : strerror(errno));
        output_abandon(output);
        return code;
    }
    return EXIT_FINE;
}

/* ---- writing */

static void note_error(struct output *output)
{
    if (!output->error && ferror(output->file))
        output->error = errno ? errno : EIO;
}

void output_bytes(struct output *output, const void *bytes, size_t size)
{
    if (size > 0 && !output->error && fwrite(bytes, 1, size, output->file) != size)
        note_error(output);
}

void output_puts(struct output *output, const char *text) { output_bytes(output, text, strlen(text)); }

void output_printf(struct output *output, const char *format, ...)
{
    if (output->error)
        return;
    va_list arguments;
    va_start(arguments, format);
    if (vfprintf(output->file, format, arguments) < 0)
        note_error(output);
    va_end(arguments);
}

static void separate(struct output *output, bool first, char separator)
{
    if (!first)
        output_bytes(output, &separator, 1);
}

void output_field(struct output *output, const char *text, bool first, char separator)
{
    const char special[] = {'"', '\n', '\r', separator, '\0'};
    separate(output, first, separator);
    const size_t length = strlen(text);
    const bool quote = strpbrk(text, special) || (length > 0 && (text[0] == ' ' || text[length - 1] == ' '));
    if (!quote) {
        output_bytes(output, text, length);
        return;
    }
    output_bytes(output, "\"", 1);
    for (const char *c = text; *c; c++)
        output_bytes(output, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
    output_bytes(output, "\"", 1);
}

void output_real(struct output *output, double value, bool first, char separator)
{
    char number[NUMBER_BYTES];
    separate(output, first, separator);
    output_puts(output, number_text(number, value));
}

void output_float(struct output *output, float value, bool first, char separator)
{
    char number[NUMBER_BYTES];
    separate(output, first, separator);
    output_puts(output, number_text_float(number, value));
}

void output_int(struct output *output, int64_t value, bool first, char separator)
{
    char number[NUMBER_BYTES];
    separate(output, first, separator);
    snprintf(number, sizeof number, "%" PRId64, value);
    output_puts(output, number);
}

/* ---- ending */

int output_check(struct output *output)
{
    if (!output->error && fflush(output->file) != 0)
        output->error = errno ? errno : EIO;
    if (!output->error)
        return EXIT_FINE;
    if (output->error == EPIPE)
        return EXIT_CLOSED;
    if (interrupted())
        return interrupted_code();
    return fail(EXIT_IO, "cannot write %s: %s", output->name, strerror(output->error));
}

static void sync_folder(const char *path)
{
    char *folder = folder_of(path);
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor); /* some file systems cannot; the file itself is safe */
        close(descriptor);
    }
    free(folder);
}

/* Before the file is closed, which ends its lock. One that is replaced keeps its permissions. */
static int put_in_place(struct output *output)
{
    take_over_permissions(output, 0);
    if (fsync(fileno(output->file)) != 0)
        return fail(EXIT_IO, "cannot write %s: %s", output->name, strerror(errno));
    if (rename(output->partial, output->path) != 0)
        return fail(EXIT_CANNOT_CREATE, "cannot rename %s to %s: %s", output->partial, output->path,
                    strerror(errno));
    sync_folder(output->path);
    free(output->partial);
    output->partial = NULL;
    return EXIT_FINE;
}

int output_close(struct output *output)
{
    int code = output_check(output);
    if (code == EXIT_FINE && output->partial)
        code = put_in_place(output);
    if (code == EXIT_FINE && output->file != stdout) {
        FILE *file = output->file;
        output->file = NULL;
        if (fclose(file) != 0)
            code = fail(EXIT_IO, "cannot write %s: %s", output->name, strerror(errno));
    }
    output_abandon(output);
    return code;
}

void output_abandon(struct output *output)
{
    if (output->partial)
        remove(output->partial); /* while the lock holds, so that it is ours */
    if (output->file && output->file != stdout)
        fclose(output->file);
    free(output->partial);
    free(output->path);
    *output = (struct output){0};
}
