/* bytes.c — byte streams over files, standard input and memory; which of them hold gzip.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/bytes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* ---- files: regular ones seek and map, pipes only move forward */

struct file_bytes {
    struct fkmi_bytes base;
    int fd;
    bool owned, regular;
    void *map;
    size_t map_size, passed; /* of the map, before passed: given back */
    unsigned char head[2];   /* the first bytes of a pipe, read to recognise gzip and not yet handed out */
    size_t head_begin, head_end;
};

static fkm_status file_read(struct fkmi_bytes *bytes, void *buffer, size_t capacity, size_t *got)
{
    struct file_bytes *file = (struct file_bytes *)bytes;
    ssize_t n;

    if (file->head_begin < file->head_end) {
        *got = file->head_end - file->head_begin < capacity ? file->head_end - file->head_begin : capacity;
        memcpy(buffer, file->head + file->head_begin, *got);
        file->head_begin += *got;
        return FKM_OK;
    }
    n = read(file->fd, buffer, capacity < ((size_t)1 << 30) ? capacity : (size_t)1 << 30);
    if (n < 0 && errno == EINTR)
        return fkmi_fail(FKM_EINTERRUPTED, "interrupted while reading %s", bytes->name);
    if (n < 0)
        return fkmi_fail(FKM_EIO, "cannot read %s: %s", bytes->name, strerror(errno));
    *got = (size_t)n;
    return FKM_OK;
}

static fkm_status file_approach(struct fkmi_bytes *bytes, int64_t offset)
{
    struct file_bytes *file = (struct file_bytes *)bytes;
    struct stat info;

    if (!file->regular) {
        if (offset < bytes->offset)
            return fkmi_fail(FKM_EUNSUPPORTED, "%s cannot go back: at byte %lld, asked for byte %lld",
                             bytes->name, (long long)bytes->offset, (long long)offset);
        return FKM_OK;
    }
    if (fstat(file->fd, &info) != 0)
        return fkmi_fail(FKM_EIO, "cannot look at %s: %s", bytes->name, strerror(errno));
    if (offset > (int64_t)info.st_size)
        return fkmi_fail(FKM_EINVAL, "byte %lld lies beyond the end of %s (%lld bytes)", (long long)offset,
                         bytes->name, (long long)info.st_size);
    if (lseek(file->fd, (off_t)offset, SEEK_SET) < 0)
        return fkmi_fail(FKM_EIO, "cannot seek in %s: %s", bytes->name, strerror(errno));
    bytes->offset = offset;
    return FKM_OK;
}

static fkm_status file_map(struct fkmi_bytes *bytes, const void **data, size_t *size)
{
    struct file_bytes *file = (struct file_bytes *)bytes;
    struct stat info;
    void *map;

    if (!file->regular)
        return FKM_OK;
    if (!file->map) {
        if (fstat(file->fd, &info) != 0)
            return fkmi_fail(FKM_EIO, "cannot look at %s: %s", bytes->name, strerror(errno));
        if (info.st_size == 0) /* cannot be mapped; reading finds it empty */
            return FKM_OK;
        map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file->fd, 0);
        if (map == MAP_FAILED)
            return fkmi_fail(FKM_EIO, "cannot map %s: %s", bytes->name, strerror(errno));
        file->map = map;
        file->map_size = (size_t)info.st_size;
    }
    *data = file->map;
    *size = file->map_size;
    return FKM_OK;
}

static fkm_status file_still_whole(struct fkmi_bytes *bytes)
{
    struct file_bytes *file = (struct file_bytes *)bytes;
    struct stat info;

    if (!file->map)
        return FKM_OK;
    if (fstat(file->fd, &info) != 0)
        return fkmi_fail(FKM_EIO, "cannot look at %s: %s", bytes->name, strerror(errno));
    if ((size_t)info.st_size < file->map_size)
        return fkmi_fail(FKM_EIO, "%s shrank from %zu to %lld bytes while it was read", bytes->name,
                         file->map_size, (long long)info.st_size);
    return FKM_OK;
}

static void file_passed(struct fkmi_bytes *bytes, int64_t offset)
{
    struct file_bytes *file = (struct file_bytes *)bytes;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), end = (size_t)offset / page * page;

    if (!file->map)
        return;
    if (end > file->passed)
        (void)madvise((char *)file->map + file->passed, end - file->passed, MADV_DONTNEED);
    file->passed = end;
}

static bool file_forward_only(const struct fkmi_bytes *bytes)
{
    return !((const struct file_bytes *)bytes)->regular;
}

static void file_close(struct fkmi_bytes *bytes)
{
    struct file_bytes *file = (struct file_bytes *)bytes;

    if (file->map)
        munmap(file->map, file->map_size);
    if (file->owned)
        close(file->fd);
    fkmi_free(bytes->name);
    fkmi_free(file);
}

static const struct fkmi_bytes_kind file_kind = {.read = file_read,
                                                 .approach = file_approach,
                                                 .map = file_map,
                                                 .still_whole = file_still_whole,
                                                 .passed = file_passed,
                                                 .forward_only = file_forward_only,
                                                 .close = file_close};

/* ---- memory */

struct memory_bytes {
    struct fkmi_bytes base;
    const char *data;
    size_t size;
};

static fkm_status memory_read(struct fkmi_bytes *bytes, void *buffer, size_t capacity, size_t *got)
{
    const struct memory_bytes *memory = (struct memory_bytes *)bytes;
    const size_t rest = memory->size - (size_t)bytes->offset;

    *got = rest < capacity ? rest : capacity;
    if (*got > 0)
        memcpy(buffer, memory->data + bytes->offset, *got);
    return FKM_OK;
}

static fkm_status memory_approach(struct fkmi_bytes *bytes, int64_t offset)
{
    const struct memory_bytes *memory = (struct memory_bytes *)bytes;

    if (offset > (int64_t)memory->size)
        return fkmi_fail(FKM_EINVAL, "byte %lld lies beyond the end of %s (%zu bytes)", (long long)offset,
                         bytes->name, memory->size);
    bytes->offset = offset;
    return FKM_OK;
}

static fkm_status memory_map(struct fkmi_bytes *bytes, const void **data, size_t *size)
{
    const struct memory_bytes *memory = (struct memory_bytes *)bytes;

    *data = memory->data;
    *size = memory->size;
    return FKM_OK;
}

static void memory_close(struct fkmi_bytes *bytes)
{
    fkmi_free(bytes->name);
    fkmi_free(bytes);
}

static const struct fkmi_bytes_kind memory_kind = {
    .read = memory_read, .approach = memory_approach, .map = memory_map, .close = memory_close};

/* ---- opening */

static bool ends_in_gz(const char *path)
{
    const size_t length = strlen(path);

    return length > 3 && strcmp(path + length - 3, ".gz") == 0;
}

/* Puts gunzip in front of *bytes where `head`, its first bytes, says gzip. */
static fkm_status unpack(struct fkmi_bytes **bytes, const unsigned char *head, size_t n_head)
{
    if (n_head < 2 || head[0] != 0x1f || head[1] != 0x8b) {
        if (ends_in_gz((*bytes)->name))
            return fkmi_fail(FKM_EDATA, "%s is named .gz but does not begin as gzip does", (*bytes)->name);
        return FKM_OK;
    }
#ifdef FKM_WITH_ZLIB
    return fkmi_bytes_gunzip(*bytes, bytes);
#else
    return fkmi_fail(FKM_EUNSUPPORTED, "%s is packed with gzip, and this build has no zlib", (*bytes)->name);
#endif
}

/* Reads the first two bytes and puts them back. */
static fkm_status read_head(struct file_bytes *file)
{
    unsigned char head[2];
    size_t n = 0;

    while (n < sizeof head) {
        size_t got;

        FKMI_TRY(file_read(&file->base, head + n, sizeof head - n, &got));
        if (got == 0)
            break;
        n += got;
    }
    if (file->regular) {
        if (lseek(file->fd, 0, SEEK_SET) < 0)
            return fkmi_fail(FKM_EIO, "cannot seek in %s: %s", file->base.name, strerror(errno));
    }
    memcpy(file->head, head, n);
    file->head_end = n;
    file->head_begin = file->regular ? n : 0; /* a regular file reads them again by itself */
    return FKM_OK;
}

fkm_status fkmi_bytes_open(const char *path, struct fkmi_bytes **out)
{
    fkm_status status = FKM_OK;
    struct file_bytes *file = NULL;
    struct fkmi_bytes *bytes = NULL;
    struct stat info;

    FKMI_TRY(fkmi_alloc(&file, 1, sizeof *file));
    file->base.kind = &file_kind;
    bytes = &file->base;
    if (strcmp(path, "-") == 0) {
        FKMI_TRY_GOTO(fkmi_format(&file->base.name, "standard input"));
        file->fd = STDIN_FILENO;
    } else {
        FKMI_TRY_GOTO(fkmi_format(&file->base.name, "%s", path));
        file->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (file->fd < 0)
            FKMI_TRY_GOTO(fkmi_fail(FKM_EIO, "cannot open %s: %s", path, strerror(errno)));
        file->owned = true;
    }
    if (fstat(file->fd, &info) != 0)
        FKMI_TRY_GOTO(fkmi_fail(FKM_EIO, "cannot look at %s: %s", file->base.name, strerror(errno)));
    if (S_ISDIR(info.st_mode))
        FKMI_TRY_GOTO(fkmi_fail(FKM_EIO, "cannot read %s: it is a folder", file->base.name));
    /* where in a file standard input begins is the caller's affair */
    file->regular = S_ISREG(info.st_mode) && file->owned;
    FKMI_TRY_GOTO(read_head(file));
    FKMI_TRY_GOTO(unpack(&bytes, file->head, file->head_end));
    *out = bytes;
    bytes = NULL;
done:
    fkmi_bytes_close(bytes);
    return status;
}

fkm_status fkmi_bytes_open_memory(const void *data, size_t size, const char *name, struct fkmi_bytes **out)
{
    fkm_status status = FKM_OK;
    struct memory_bytes *memory = NULL;
    struct fkmi_bytes *bytes = NULL;

    FKMI_TRY(fkmi_alloc(&memory, 1, sizeof *memory));
    memory->base.kind = &memory_kind;
    memory->data = data;
    memory->size = size;
    bytes = &memory->base;
    FKMI_TRY_GOTO(fkmi_format(&bytes->name, "%s", name));
    FKMI_TRY_GOTO(unpack(&bytes, data, size));
    *out = bytes;
    bytes = NULL;
done:
    fkmi_bytes_close(bytes);
    return status;
}

void fkmi_bytes_close(struct fkmi_bytes *bytes)
{
    if (bytes)
        bytes->kind->close(bytes);
}

/* ---- reading */

fkm_status fkmi_bytes_read(struct fkmi_bytes *bytes, void *buffer, size_t capacity, size_t *got)
{
    assert(capacity > 0);
    *got = 0;
    FKMI_TRY(bytes->kind->read(bytes, buffer, capacity, got));
    bytes->offset += (int64_t)*got;
    return FKM_OK;
}

fkm_status fkmi_bytes_seek(struct fkmi_bytes *bytes, int64_t offset)
{
    char dropped[8192];

    if (offset < 0)
        return fkmi_fail(FKM_EINVAL, "byte %lld of %s: offsets count from 0", (long long)offset, bytes->name);
    FKMI_TRY(bytes->kind->approach(bytes, offset));
    while (bytes->offset < offset) {
        const int64_t rest = offset - bytes->offset;
        size_t got;

        FKMI_TRY(fkmi_bytes_read(bytes, dropped,
                                 rest < (int64_t)sizeof dropped ? (size_t)rest : sizeof dropped, &got));
        if (got == 0)
            return fkmi_fail(FKM_EINVAL, "byte %lld lies beyond the end of %s (%lld bytes)",
                             (long long)offset, bytes->name, (long long)bytes->offset);
    }
    return FKM_OK;
}

bool fkmi_bytes_forward_only(const struct fkmi_bytes *bytes)
{
    return bytes->kind->forward_only && bytes->kind->forward_only(bytes);
}

fkm_status fkmi_bytes_map(struct fkmi_bytes *bytes, const void **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    return bytes->kind->map ? bytes->kind->map(bytes, data, size) : FKM_OK;
}

void fkmi_bytes_passed(struct fkmi_bytes *bytes, int64_t offset)
{
    if (bytes->kind->passed)
        bytes->kind->passed(bytes, offset);
}

fkm_status fkmi_bytes_still_whole(struct fkmi_bytes *bytes)
{
    return bytes->kind->still_whole ? bytes->kind->still_whole(bytes) : FKM_OK;
}
