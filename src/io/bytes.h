/* bytes.h — a stream of bytes: a file, standard input, memory, or any of these behind gzip.
 *
 * Offsets count uncompressed bytes. One thread.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_BYTES_H
#define FKMI_IO_BYTES_H

#include <stdbool.h>

#include "base/error.h"

struct fkmi_bytes {
    const struct fkmi_bytes_kind *kind;
    char *name;     /* for messages: the path, "standard input", ... */
    int64_t offset; /* of the next byte */
};
/* What each kind of stream does. */
struct fkmi_bytes_kind {
    fkm_status (*read)(struct fkmi_bytes *bytes, void *buffer, size_t capacity, size_t *got);
    /* Goes towards offset as far as it can without reading; never beyond it. */
    fkm_status (*approach)(struct fkmi_bytes *bytes, int64_t offset);
    /* The whole content as memory, or NULL where that cannot be; both may be NULL slots. still_whole fails
     * when a mapped file has shrunk since: touching the lost pages would end the process. */
    fkm_status (*map)(struct fkmi_bytes *bytes, const void **data, size_t *size);
    fkm_status (*still_whole)(struct fkmi_bytes *bytes);
    void (*passed)(struct fkmi_bytes *bytes, int64_t offset); /* NULL: nothing to do */
    bool (*forward_only)(const struct fkmi_bytes *bytes);     /* NULL: no */
    void (*close)(struct fkmi_bytes *bytes);                  /* frees everything, bytes too */
};

/* path "-" is standard input. gzip is recognised by its first bytes; a name in .gz must hold gzip. FKM_EIO
 * when the file cannot be opened, FKM_EUNSUPPORTED for gzip in a build without zlib. */
fkm_status fkmi_bytes_open(const char *path, struct fkmi_bytes **out);
/* data is borrowed until close; gzip is recognised as above. */
fkm_status fkmi_bytes_open_memory(const void *data, size_t size, const char *name, struct fkmi_bytes **out);
void fkmi_bytes_close(struct fkmi_bytes *bytes); /* NULL is fine */

/* At most capacity (> 0) bytes; *got 0: the end. FKM_EIO, FKM_EDATA (damaged gzip), FKM_EINTERRUPTED (a
 * signal came while waiting for a pipe). What was read before a failure is delivered first; a failed read can
 * be tried again. */
fkm_status fkmi_bytes_read(struct fkmi_bytes *bytes, void *buffer, size_t capacity, size_t *got);
/* Streams that cannot go back (standard input, pipes) only go forward: else FKM_EUNSUPPORTED. FKM_EINVAL
 * beyond the end. */
fkm_status fkmi_bytes_seek(struct fkmi_bytes *bytes, int64_t offset);
bool fkmi_bytes_forward_only(const struct fkmi_bytes *bytes);
/* The whole content, borrowed until close; *data NULL when this stream cannot be mapped. */
fkm_status fkmi_bytes_map(struct fkmi_bytes *bytes, const void **data, size_t *size);
fkm_status fkmi_bytes_still_whole(struct fkmi_bytes *bytes);
/* What lies before offset of mapped content need not stay in memory; it can be looked at again all the same. */
void fkmi_bytes_passed(struct fkmi_bytes *bytes, int64_t offset);

#ifdef FKM_WITH_ZLIB
/* Unpacks inner, which *out owns once this succeeds. In bytes_gzip.c. */
fkm_status fkmi_bytes_gunzip(struct fkmi_bytes *inner, struct fkmi_bytes **out);
#endif

#endif
