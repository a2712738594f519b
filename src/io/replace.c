/* replace.c — path.partial, every write checked, fsync, rename, fsync of the folder.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"

static fkm_status fail(const struct fkmi_replacement *file, const char *verb)
{
    return fkmi_fail(FKM_EIO, "cannot %s %s: %s", verb, file->partial, strerror(errno));
}

/* Whether what is open here is still what the name stands for: a writer before us may have renamed it. */
static bool still_there(const struct fkmi_replacement *file)
{
    struct stat ours, named;

    return fstat(file->fd, &ours) == 0 && lstat(file->partial, &named) == 0 && ours.st_dev == named.st_dev &&
           ours.st_ino == named.st_ino;
}

/* Opens and locks the partial file; the leftover of a writer that was killed is taken over. */
static fkm_status open_partial(struct fkmi_replacement *file)
{
    for (;;) {
        file->fd = open(file->partial, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
        if (file->fd < 0)
            return fail(file, "create");
        while (flock(file->fd, LOCK_EX) != 0 && errno == EINTR)
            ; /* a file system without locks has one writer at a time, we hope with it */
        if (still_there(file))
            break;
        close(file->fd);
    }
    file->open = true;
    return ftruncate(file->fd, 0) == 0 ? FKM_OK : fail(file, "empty");
}

/* The name to replace: what a symbolic link leads to, so that the link stays. */
static fkm_status find_path(const char *path, char **out)
{
    struct stat info;
    const bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    char *real = link ? realpath(path, NULL) : NULL;
    fkm_status status;

    if (link && !real)
        return fkmi_fail(FKM_EIO, "cannot write %s: the symbolic link leads nowhere: %s", path,
                         strerror(errno));
    status = fkmi_format(out, "%s", real ? real : path);
    free(real);
    return status;
}

fkm_status fkmi_replace_begin(struct fkmi_replacement *file, const char *path)
{
    struct stat old;
    bool replaces;

    if (path[0] == '\0')
        return fkmi_fail(FKM_EINVAL, "path is empty");
    FKMI_TRY(find_path(path, &file->path));
    FKMI_TRY(fkmi_format(&file->partial, "%s.partial", file->path));
    replaces = stat(path, &old) == 0;
    if (replaces && !S_ISREG(old.st_mode))
        return fkmi_fail(FKM_EIO, "cannot write %s: it is %s", path,
                         S_ISDIR(old.st_mode) ? "a folder" : "not a regular file");
    FKMI_TRY(open_partial(file));
    if (replaces) /* nobody else may read half of a private file either */
        (void)fchmod(file->fd, (old.st_mode & 0777) | S_IWUSR);
    return FKM_OK;
}

/* Writing beyond RLIMIT_FSIZE sends this thread SIGXFSZ, which would end the program. It is held back while
 * we write and taken away again, unless it was there before us. */
struct held_signal {
    sigset_t signal, old_mask;
    bool was_pending;
};

static void hold_signal(struct held_signal *held)
{
    sigset_t pending;

    sigemptyset(&held->signal);
    sigaddset(&held->signal, SIGXFSZ);
    held->was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1;
    pthread_sigmask(SIG_BLOCK, &held->signal, &held->old_mask);
}

static void release_signal(const struct held_signal *held)
{
    const struct timespec at_once = {0, 0};

    if (!held->was_pending)
        while (sigtimedwait(&held->signal, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &held->old_mask, NULL);
}

/* The errno of the first failure, or 0. */
static int write_all(int fd, const char *at, size_t size)
{
    while (size > 0) {
        const size_t piece = size < ((size_t)1 << 24) ? size : (size_t)1 << 24;
        const ssize_t n = write(fd, at, piece);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

fkm_status fkmi_replace_write(struct fkmi_replacement *file, const void *bytes, size_t size)
{
    struct held_signal held;
    int problem;

    hold_signal(&held);
    problem = write_all(file->fd, bytes, size);
    release_signal(&held);
    errno = problem;
    return problem == 0 ? FKM_OK : fail(file, "write");
}

static fkm_status flush_folder(const struct fkmi_replacement *file)
{
    const char *slash = strrchr(file->path, '/');
    const size_t length = !slash ? 0 : slash == file->path ? 1 : (size_t)(slash - file->path);
    fkm_status status = FKM_OK;
    char *folder;
    int fd;

    FKMI_TRY(fkmi_format(&folder, "%.*s", length > 0 ? (int)length : 1, length > 0 ? file->path : "."));
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: this file system cannot flush folders; a folder we may write but not read cannot be opened */
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL)
        status = fkmi_fail(FKM_EIO, "%s is written, but its folder cannot be flushed: %s", file->path,
                           strerror(errno));
    if (fd >= 0)
        close(fd);
    fkmi_free(folder);
    return status;
}

fkm_status fkmi_replace_commit(struct fkmi_replacement *file)
{
    struct stat old;

    if (stat(file->path, &old) == 0)
        (void)fchmod(file->fd, old.st_mode & 0777);
    if (fsync(file->fd) != 0)
        return fail(file, "flush");
    if (rename(file->partial, file->path) != 0)
        return fail(file, "rename");
    file->open = false;
    if (close(file->fd) != 0)
        return fkmi_fail(FKM_EIO, "cannot close %s: %s", file->path, strerror(errno));
    return flush_folder(file);
}

void fkmi_replace_end(struct fkmi_replacement *file)
{
    if (file->open) {
        unlink(file->partial); /* before the lock goes: the next writer finds no name or its own file */
        close(file->fd);
    }
    fkmi_free(file->path);
    fkmi_free(file->partial);
    *file = (struct fkmi_replacement){0};
}
