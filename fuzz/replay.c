/* replay.c — runs a fuzz target over the files of a folder: the kept inputs as a test, with any compiler.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>

#include "fuzz/fuzz.h"

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;
    long size;

    REQUIRE(file != NULL);
    REQUIRE(fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0);
    bytes = malloc((size_t)size + 1);
    REQUIRE(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : FKM_SEEDS;
    DIR *entries = opendir(folder);
    struct dirent *entry;
    char path[4096];
    int n = 0;

    if (!entries) {
        fprintf(stderr, "cannot open %s\n", folder);
        return 1;
    }
    while ((entry = readdir(entries)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        replay(path);
        n++;
    }
    closedir(entries);
    printf("%d inputs\n", n);
    return n > 0 ? 0 : 1;
}
