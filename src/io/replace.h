/* replace.h — writes a file beside an old one and puts it in its place only when it is whole and on the disk.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_IO_REPLACE_H
#define FKMI_IO_REPLACE_H

#include <stdbool.h>

#include "base/error.h"

struct fkmi_replacement { /* zeroed: nothing is open */
    int fd;
    char *path, *partial;
    bool open;
};
/* Opens path.partial, or that of the file a symbolic link leads to. A second writer of the same path, in any process,
 * waits here. FKM_EIO when path is something other than a regular file. */
fkm_status fkmi_replace_begin(struct fkmi_replacement *file, const char *path);
/* All bytes or FKM_EIO. A file size limit is an error like a full disk: its signal does not get out. */
fkm_status fkmi_replace_write(struct fkmi_replacement *file, const void *bytes, size_t size);
/* Takes over the old file's permissions, flushes, renames, flushes the folder. */
fkm_status fkmi_replace_commit(struct fkmi_replacement *file);
/* Removes path.partial unless it was committed, and frees. */
void fkmi_replace_end(struct fkmi_replacement *file);

#endif
