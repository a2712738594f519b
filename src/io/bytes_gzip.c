/* bytes_gzip.c — a byte stream that unpacks gzip, with any number of members. Built with zlib only.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "io/bytes.h"

#include <limits.h>
#include <zlib.h>

#include "base/memory.h"

#define PACKED_BYTES 65536

struct gzip_bytes {
    struct fkmi_bytes base;
    struct fkmi_bytes *inner;
    z_stream stream;
    bool stream_ready;
    bool in_member; /* false: before the first member or after a whole one */
    bool inner_ended;
    unsigned char packed[PACKED_BYTES];
};

static void *take(void *unused, uInt count, uInt size)
{
    void *block;

    (void)unused;
    return fkmi_alloc(&block, (int64_t)count, size) == FKM_OK ? block : NULL;
}

static void give(void *unused, void *block)
{
    (void)unused;
    fkmi_free(block);
}

static fkm_status refill(struct gzip_bytes *gzip)
{
    size_t got;

    FKMI_TRY(fkmi_bytes_read(gzip->inner, gzip->packed, PACKED_BYTES, &got));
    gzip->inner_ended = got == 0;
    gzip->stream.next_in = gzip->packed;
    gzip->stream.avail_in = (uInt)got;
    return FKM_OK;
}

static fkm_status gzip_read(struct fkmi_bytes *bytes, void *buffer, size_t capacity, size_t *got)
{
    struct gzip_bytes *gzip = (struct gzip_bytes *)bytes;
    z_stream *stream = &gzip->stream;
    const uInt room = capacity < UINT_MAX ? (uInt)capacity : UINT_MAX;

    stream->next_out = buffer;
    stream->avail_out = room;
    while (stream->avail_out == room) {
        int code;

        if (stream->avail_in == 0 && !gzip->inner_ended)
            FKMI_TRY(refill(gzip));
        if (!gzip->in_member) {
            if (stream->avail_in == 0)
                break; /* the end, behind a whole member */
            inflateReset(stream);
            gzip->in_member = true;
        }
        code = inflate(stream, Z_NO_FLUSH); /* without input too: there may be output left inside */
        if (code == Z_STREAM_END)
            gzip->in_member = false;
        else if (code == Z_MEM_ERROR)
            return fkmi_fail(FKM_ENOMEM, "no memory to unpack %s", bytes->name);
        else if (code == Z_BUF_ERROR && gzip->inner_ended)
            return fkmi_fail(FKM_EDATA, "%s is cut off: its gzip data ends early", bytes->name);
        else if (code != Z_OK && code != Z_BUF_ERROR && stream->avail_out == room)
            return fkmi_fail(FKM_EDATA, "%s is damaged: %s (gzip, after %lld unpacked bytes)", bytes->name,
                             stream->msg ? stream->msg : "bad data", (long long)bytes->offset);
    }
    *got = room - stream->avail_out;
    return FKM_OK;
}

static fkm_status gzip_approach(struct fkmi_bytes *bytes, int64_t offset)
{
    struct gzip_bytes *gzip = (struct gzip_bytes *)bytes;

    if (offset >= bytes->offset)
        return FKM_OK;
    FKMI_TRY(fkmi_bytes_seek(gzip->inner, 0));
    bytes->offset = 0;
    gzip->stream.avail_in = 0;
    gzip->in_member = false;
    gzip->inner_ended = false;
    return FKM_OK;
}

static bool gzip_forward_only(const struct fkmi_bytes *bytes)
{
    return fkmi_bytes_forward_only(((const struct gzip_bytes *)bytes)->inner);
}

static void gzip_close(struct fkmi_bytes *bytes)
{
    struct gzip_bytes *gzip = (struct gzip_bytes *)bytes;

    if (gzip->stream_ready)
        inflateEnd(&gzip->stream);
    fkmi_bytes_close(gzip->inner);
    fkmi_free(bytes->name);
    fkmi_free(gzip);
}

static const struct fkmi_bytes_kind gzip_kind = {
    .read = gzip_read, .approach = gzip_approach, .forward_only = gzip_forward_only, .close = gzip_close};

fkm_status fkmi_bytes_gunzip(struct fkmi_bytes *inner, struct fkmi_bytes **out)
{
    fkm_status status = FKM_OK;
    struct gzip_bytes *gzip = NULL;

    FKMI_TRY(fkmi_alloc(&gzip, 1, sizeof *gzip));
    gzip->base.kind = &gzip_kind;
    gzip->stream.zalloc = take;
    gzip->stream.zfree = give;
    FKMI_TRY_GOTO(fkmi_format(&gzip->base.name, "%s", inner->name));
    if (inflateInit2(&gzip->stream, MAX_WBITS + 16) != Z_OK) /* + 16: gzip only */
        FKMI_TRY_GOTO(fkmi_fail(FKM_ENOMEM, "no memory to unpack %s", inner->name));
    gzip->stream_ready = true;
    gzip->inner = inner;
    *out = &gzip->base;
    gzip = NULL;
done:
    if (gzip)
        gzip_close(&gzip->base);
    return status;
}
