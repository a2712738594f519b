/* test_safetensors.c — the model file's container: what was written comes back, anything else is refused, and
 * a failed write leaves the old file.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/sha256.h"
#include "io/replace.h"
#include "io/safetensors.h"
#include "unit/io/source_tools.h"

static const double doubles[6] = {1.5, -2, 3e300, 0, 5, -0.0};
static const uint8_t small[3] = {1, 0, 255};
static const uint16_t halves[4] = {0x3e00, 0xc000, 1, 2};
static const int64_t wide[1] = {INT64_MIN};

static const struct fkmi_tensor tensors[] = {
    {.name = "frozen", .type = FKMI_TENSOR_U8, .n_dims = 1, .shape = {3}, .data = small},
    {.name = "points", .type = FKMI_TENSOR_F64, .n_dims = 2, .shape = {3, 2}, .data = doubles},
    {.name = "halves", .type = FKMI_TENSOR_BF16, .n_dims = 2, .shape = {2, 2}, .data = halves},
    {.name = "count", .type = FKMI_TENSOR_I64, .n_dims = 0, .data = wide},
    {.name = "nothing", .type = FKMI_TENSOR_F32, .n_dims = 2, .shape = {0, 7}, .data = NULL},
};
#define N_TENSORS 5
static const struct fkmi_text texts[] = {
    {"version", "0.1.0"}, {"note", "caf\xc3\xa9 \"\\\n\x01 end"}, {"empty", ""}};
#define N_TEXTS 3

static void check_content(struct fkmi_tensor_file *file)
{
    double *points;
    uint16_t *half;
    int64_t *count;
    float *nothing;

    CHECK_INT(N_TENSORS, fkmi_tensors_count(file));
    CHECK_INT(N_TEXTS, fkmi_tensors_text_count(file));
    CHECK_TEXT("note", fkmi_tensors_text_at(file, 1).name);
    CHECK_TEXT(texts[1].value, fkmi_tensors_text_at(file, 1).value);
    CHECK_TEXT("", fkmi_tensors_text(file, "empty"));
    CHECK(fkmi_tensors_text(file, "none") == NULL && fkmi_tensors_text(file, "sha256") == NULL);
    CHECK(fkmi_tensors_find(file, "none") == NULL);
    CHECK_OK(fkmi_tensors_read(file, "points", FKMI_TENSOR_F64, 2, (int64_t[]){3, -1}, &points));
    CHECK(memcmp(points, doubles, sizeof doubles) == 0);
    fkmi_free(points);
    CHECK_OK(fkmi_tensors_read(file, "halves", FKMI_TENSOR_BF16, 2, (int64_t[]){2, 2}, &half));
    CHECK(memcmp(half, halves, sizeof halves) == 0);
    fkmi_free(half);
    CHECK_OK(fkmi_tensors_read(file, "count", FKMI_TENSOR_I64, 0, NULL, &count));
    CHECK(*count == INT64_MIN);
    fkmi_free(count);
    CHECK_OK(fkmi_tensors_read(file, "nothing", FKMI_TENSOR_F32, 2, (int64_t[]){-1, 7}, &nothing));
    fkmi_free(nothing);
}

TEST(what_was_written_comes_back)
{
    const char *folder = make_folder(), *path = path_in(folder, "m.fkm");
    struct fkmi_tensor_file *file;
    struct stat info;
    void *bytes;
    size_t size;

    umask(0027);
    CHECK_OK(fkmi_tensors_save(path, tensors, N_TENSORS, texts, N_TEXTS));
    umask(0022);
    CHECK(stat(path, &info) == 0);
    CHECK_INT(0640, info.st_mode & 0777);
    CHECK_OK(fkmi_tensors_open(path, &file));
    check_content(file);
    fkmi_tensors_close(file);
    CHECK_OK(fkmi_tensors_to_bytes(tensors, N_TENSORS, texts, N_TEXTS, &bytes, &size));
    CHECK_INT(info.st_size, size);
    CHECK_OK(fkmi_tensors_open_bytes(bytes, size, &file));
    check_content(file);
    fkmi_tensors_close(file);
    fkmi_free(bytes);
    CHECK(access(path_in(folder, "m.fkm.partial"), F_OK) != 0);
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(a_file_of_nothing_is_a_file)
{
    struct fkmi_tensor_file *file;
    void *bytes;
    size_t size;

    CHECK_OK(fkmi_tensors_to_bytes(NULL, 0, NULL, 0, &bytes, &size));
    CHECK_OK(fkmi_tensors_open_bytes(bytes, size, &file));
    CHECK_INT(0, fkmi_tensors_count(file));
    CHECK_INT(0, fkmi_tensors_text_count(file));
    fkmi_tensors_close(file);
    fkmi_free(bytes);
}

TEST(the_checksum_is_that_of_the_whole_file_with_zeros_for_itself)
{
    struct fkmi_sha256 hash;
    char hex[65], written[65] = {0};
    unsigned char *bytes;
    size_t size;
    char *digits;

    CHECK_OK(fkmi_tensors_to_bytes(tensors, N_TENSORS, texts, N_TEXTS, (void **)&bytes, &size));
    CHECK_INT(0, (bytes[0] + 256 * bytes[1]) % 8);
    digits = (char *)bytes + 8 + strlen("{\"__metadata__\":{\"sha256\":\"");
    memcpy(written, digits, 64);
    memset(digits, '0', 64);
    fkmi_sha256_begin(&hash);
    fkmi_sha256_add(&hash, bytes, size);
    fkmi_sha256_end(&hash, hex);
    CHECK_TEXT(hex, written);
    fkmi_free(bytes);
}

TEST(tensors_are_aligned_in_the_file)
{
    struct fkmi_tensor_file *file;
    void *bytes;
    size_t size;

    CHECK_OK(fkmi_tensors_to_bytes(tensors, N_TENSORS, texts, N_TEXTS, &bytes, &size));
    CHECK_OK(fkmi_tensors_open_bytes(bytes, size, &file));
    for (int i = 0; i < N_TENSORS; i++) {
        const struct fkmi_tensor *tensor = fkmi_tensors_at(file, i);

        CHECK_INT(0, tensor->begin % (int64_t)fkmi_tensor_type_size(tensor->type));
    }
    fkmi_tensors_close(file);
    fkmi_free(bytes);
}

TEST(every_truncation_and_every_flipped_bit_is_refused)
{
    struct fkmi_tensor_file *file;
    unsigned char *bytes;
    size_t size;

    CHECK_OK(fkmi_tensors_to_bytes(tensors, N_TENSORS, texts, N_TEXTS, (void **)&bytes, &size));
    for (size_t cut = 0; cut < size; cut++)
        CHECK_STATUS(FKM_EDATA, fkmi_tensors_open_bytes(bytes, cut, &file));
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        CHECK_STATUS(FKM_EDATA, fkmi_tensors_open_bytes(bytes, size, &file));
        CHECK(file == NULL);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    CHECK_OK(fkmi_tensors_open_bytes(bytes, size, &file));
    fkmi_tensors_close(file);
    fkmi_free(bytes);
    CHECK_INT(0, fkmi_memory_held());
}

/* A file around this header (after the checksum) and data bytes, with a true checksum. */
static void check_header(fkm_status expected, const char *words, const char *rest, size_t n_data)
{
    static unsigned char bytes[8192];
    char *header = (char *)bytes + 8, *digits;
    struct fkmi_tensor_file *file;
    struct fkmi_sha256 hash;
    char hex[65];
    size_t length;
    fkm_status status;

    memset(bytes, 0, sizeof bytes);
    length = (size_t)sprintf(header, "{\"__metadata__\":{\"sha256\":\"%064d\"%s", 0, rest);
    while (length % 8 != 0)
        header[length++] = ' ';
    bytes[0] = (unsigned char)length;
    bytes[1] = (unsigned char)(length >> 8);
    memset(header + length, 7, n_data);
    fkmi_sha256_begin(&hash);
    fkmi_sha256_add(&hash, bytes, 8 + length + n_data);
    fkmi_sha256_end(&hash, hex);
    digits = header + strlen("{\"__metadata__\":{\"sha256\":\"");
    memcpy(digits, hex, 64);
    status = fkmi_tensors_open_bytes(bytes, 8 + length + n_data, &file);
    fkmi_tensors_close(file);
    CHECK_STATUS(expected, status);
    if (expected != FKM_OK)
        CHECK_SAYS(words, fkm_last_error());
}

TEST(headers_with_a_true_checksum_are_still_distrusted)
{
#define U8(name, shape, offsets)                                                                             \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    check_header(FKM_OK, "", "}}", 0);
    check_header(FKM_OK, "", "}," U8("a", "[4]", "[0,4]") "," U8("b", "[2,2]", "[4,8]") "}", 8);
    check_header(FKM_OK, "", "}," U8("a", "[]", "[0,1]") "}", 1);
    check_header(FKM_EDATA, "its size is not that of its tensors", "}}", 1);
    check_header(FKM_EDATA, "shape is impossible", "}," U8("a", "[4]", "[0,4]") "}", 3);
    check_header(FKM_EDATA, "does not lie where",
                 "}," U8("a", "[3]", "[0,3]") "," U8("b", "[3]", "[3,6]") "}", 5);
    check_header(FKM_EDATA, "its size is not", "}," U8("a", "[4]", "[0,4]") "}", 5);
    check_header(FKM_EDATA, "does not lie where", "}," U8("a", "[4]", "[1,5]") "}", 5);
    check_header(FKM_EDATA, "does not lie where",
                 "}," U8("a", "[4]", "[0,4]") "," U8("b", "[4]", "[3,7]") "}", 8);
    check_header(FKM_EDATA, "does not lie where", "}," U8("a", "[4]", "[0,5]") "}", 5);
    check_header(FKM_EDATA, "does not lie where", "}," U8("a", "[4]", "[4,0]") "}", 4);
    check_header(FKM_EDATA, "shape is impossible", "}," U8("a", "[4611686018427387904,4]", "[0,0]") "}", 0);
    check_header(FKM_EDATA, "shape is impossible", "}," U8("a", "[3037000500,3037000500,3]", "[0,8]") "}", 8);
    check_header(FKM_EDATA, "shape is impossible", "}," U8("a", "[1,1,1,1]", "[0,1]") "}", 1);
    check_header(FKM_EDATA, "shape is impossible", "}," U8("a", "[-1]", "[0,1]") "}", 1);
    check_header(FKM_EDATA, "shape is impossible", "}," U8("a", "[1.5]", "[0,1]") "}", 1);
    check_header(FKM_EDATA, "shape is impossible", "}," U8("a", "1", "[0,1]") "}", 1);
    check_header(FKM_EDATA, "not two integers", "}," U8("a", "[1]", "[0,1,1]") "}", 1);
    check_header(FKM_EDATA, "not two integers", "}," U8("a", "[1]", "[0,\"1\"]") "}", 1);
    check_header(FKM_EDATA, "name is empty", "}," U8("", "[1]", "[0,1]") "}", 1);
    check_header(FKM_EDATA, "name is empty or too long",
                 "}," U8("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "[1]", "[0,1]") "}", 1);
    check_header(FKM_EDATA, "the model: ", "}," U8("a", "[1]", "[0,1]") "," U8("a", "[1]", "[1,2]") "}", 2);
    check_header(FKM_EDATA, "not one of ours",
                 "},\"a\":{\"dtype\":\"F8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    check_header(FKM_EDATA, "not dtype, shape, data_offsets", "},\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1);
    check_header(FKM_EDATA, "not dtype, shape, data_offsets",
                 "},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1);
    check_header(FKM_EDATA, "is not an object", "},\"a\":3}", 0);
    check_header(FKM_EDATA, "a note is not a text", ",\"x\":3}}", 0);
    check_header(FKM_EDATA, "the model: ", "}} x", 0);
    check_header(FKM_EDATA, "the model: ", "}", 0);
}

TEST(what_could_not_be_read_back_is_not_written)
{
    static const struct fkmi_text twice[] = {{"a", "1"}, {"b", "2"}, {"a", "3"}}, checksum = {"sha256", "x"},
                                  latin = {"name", "caf\xe9"};
    void *bytes;
    size_t size;

    CHECK_STATUS(FKM_EINVAL, fkmi_tensors_to_bytes(tensors, N_TENSORS, twice, 3, &bytes, &size));
    CHECK_STATUS(FKM_EINVAL, fkmi_tensors_to_bytes(tensors, N_TENSORS, &checksum, 1, &bytes, &size));
    CHECK_STATUS(FKM_EINVAL, fkmi_tensors_to_bytes(tensors, N_TENSORS, &latin, 1, &bytes, &size));
    CHECK_STATUS(FKM_EINVAL, fkmi_tensors_to_bytes(tensors, N_TENSORS, twice, FKMI_TEXTS_MAX, &bytes, &size));
    CHECK(bytes == NULL);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(a_tensor_of_another_type_or_shape_is_named)
{
    struct fkmi_tensor_file *file;
    void *bytes, *data;
    size_t size;

    CHECK_OK(fkmi_tensors_to_bytes(tensors, N_TENSORS, texts, N_TEXTS, &bytes, &size));
    CHECK_OK(fkmi_tensors_open_bytes(bytes, size, &file));
    CHECK_STATUS(FKM_EDATA, fkmi_tensors_read(file, "points", FKMI_TENSOR_F32, 2, (int64_t[]){3, 2}, &data));
    CHECK_SAYS("\"points\" is F64, expected F32", fkm_last_error());
    CHECK_STATUS(FKM_EDATA, fkmi_tensors_read(file, "points", FKMI_TENSOR_F64, 1, (int64_t[]){6}, &data));
    CHECK_SAYS("has 2 dimensions, expected 1", fkm_last_error());
    CHECK_STATUS(FKM_EDATA, fkmi_tensors_read(file, "points", FKMI_TENSOR_F64, 2, (int64_t[]){3, 3}, &data));
    CHECK_SAYS("has 2 entries in dimension 1, expected 3", fkm_last_error());
    CHECK_STATUS(FKM_EDATA, fkmi_tensors_read(file, "lost", FKMI_TENSOR_F64, 2, (int64_t[]){3, 3}, &data));
    CHECK_SAYS("no tensor \"lost\"", fkm_last_error());
    CHECK(data == NULL);
    fkmi_tensors_close(file);
    fkmi_free(bytes);
}

TEST(what_is_no_file_is_refused_at_once)
{
    const char *folder = make_folder();
    struct fkmi_tensor_file *file;

    CHECK_STATUS(FKM_EIO, fkmi_tensors_open(path_in(folder, "none"), &file));
    CHECK_STATUS(FKM_EIO, fkmi_tensors_open(folder, &file));
    CHECK(mkfifo(path_in(folder, "pipe"), 0600) == 0);
    CHECK_STATUS(FKM_EIO, fkmi_tensors_open(path_in(folder, "pipe"), &file)); /* does not wait for a writer */
    CHECK_STATUS(FKM_EIO, fkmi_tensors_save(path_in(folder, "pipe"), tensors, 1, NULL, 0));
    CHECK_STATUS(FKM_EIO, fkmi_tensors_save(folder, tensors, 1, NULL, 0));
    CHECK_SAYS("it is a folder", fkm_last_error());
    CHECK_STATUS(FKM_EIO, fkmi_tensors_save(path_in(folder, "no/such/m"), tensors, 1, NULL, 0));
    CHECK_SAYS("No such file", fkm_last_error());
    CHECK(symlink("nowhere", path_in(folder, "lost")) == 0);
    CHECK_STATUS(FKM_EIO, fkmi_tensors_save(path_in(folder, "lost"), tensors, 1, NULL, 0));
    CHECK_SAYS("the symbolic link leads nowhere", fkm_last_error());
    CHECK(unlink(path_in(folder, "lost")) == 0); /* the link was not replaced */
    CHECK_STATUS(FKM_EIO, fkmi_tensors_save("/dev/full", tensors, N_TENSORS, NULL, 0));
    CHECK(access("/dev/full", F_OK) == 0 && access("/dev/full.partial", F_OK) != 0);
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

TEST(a_partial_file_that_leads_elsewhere_is_not_followed)
{
    const char *folder = make_folder(), *path = path_in(folder, "m");
    struct stat info;

    write_file(path_in(folder, "precious"), "old", 3);
    CHECK(symlink("precious", path_in(folder, "m.partial")) == 0);
    CHECK_STATUS(FKM_EIO, fkmi_tensors_save(path, tensors, N_TENSORS, NULL, 0));
    CHECK(stat(path_in(folder, "precious"), &info) == 0 && info.st_size == 3);
    CHECK(unlink(path_in(folder, "m.partial")) == 0);
    write_file(path_in(folder, "m.partial"), "left by a writer that was killed", 32);
    CHECK_OK(fkmi_tensors_save(path, tensors, N_TENSORS, NULL, 0));
    CHECK(access(path_in(folder, "m.partial"), F_OK) != 0);
    remove_folder(folder);
}

TEST(half_of_a_private_file_is_private)
{
    const char *folder = make_folder(), *path = path_in(folder, "m");
    struct fkmi_replacement file = {0};
    struct stat info;

    write_file(path, "old", 3);
    CHECK(chmod(path, 0400) == 0);
    CHECK_OK(fkmi_replace_begin(&file, path));
    CHECK(stat(file.partial, &info) == 0 && (info.st_mode & 0777) == 0600);
    CHECK_OK(fkmi_replace_write(&file, "new!", 4));
    CHECK_OK(fkmi_replace_commit(&file));
    fkmi_replace_end(&file);
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0400 && info.st_size == 4);
    remove_folder(folder);
}

TEST(a_file_size_limit_leaves_the_old_file_and_the_process)
{
    static double data[40000];
    const struct fkmi_tensor large = {
        .name = "large", .type = FKMI_TENSOR_F64, .n_dims = 1, .shape = {40000}, .data = data};
    const char *folder = make_folder(), *path = path_in(folder, "m");
    struct fkmi_tensor_file *file;
    struct rlimit old, low;
    struct sigaction fatal = {.sa_handler = SIG_DFL};
    fkm_status status;
    sigset_t pending;

    CHECK_OK(fkmi_tensors_save(path, tensors, N_TENSORS, texts, N_TEXTS));
    CHECK(sigaction(SIGXFSZ, &fatal, NULL) == 0); /* the signal would end this test */
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    low = old;
    low.rlim_cur = 100000; /* in the middle of the tensor */
    CHECK(setrlimit(RLIMIT_FSIZE, &low) == 0);
    status = fkmi_tensors_save(path, &large, 1, NULL, 0);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK_STATUS(FKM_EIO, status);
    CHECK_SAYS("File too large", fkm_last_error());
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGXFSZ));
    CHECK(access(path_in(folder, "m.partial"), F_OK) != 0);
    CHECK_OK(fkmi_tensors_open(path, &file));
    check_content(file);
    fkmi_tensors_close(file);
    CHECK_OK(fkmi_tensors_save(path, &large, 1, NULL, 0));
    remove_folder(folder);
    CHECK_INT(0, fkmi_memory_held());
}

static void *save_often(void *path)
{
    static fkm_status failed = FKM_EIO;

    for (int i = 0; i < 30; i++)
        if (fkmi_tensors_save(path, tensors, N_TENSORS, texts, N_TEXTS) != FKM_OK)
            return &failed;
    return NULL;
}

TEST(writers_of_one_path_take_turns)
{
    const char *folder = make_folder();
    static char path[128];
    pthread_t writers[4];
    void *failed;

    strcpy(path, path_in(folder, "m"));
    CHECK_OK(fkmi_tensors_save(path, tensors, N_TENSORS, texts, N_TEXTS));
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&writers[i], NULL, save_often, path) == 0);
    for (int i = 0; i < 50; i++) {
        struct fkmi_tensor_file *file;

        CHECK_OK(fkmi_tensors_open(path, &file)); /* whole at any moment */
        fkmi_tensors_close(file);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(writers[i], &failed) == 0);
        CHECK(failed == NULL);
    }
    CHECK(access(path_in(folder, "m.partial"), F_OK) != 0);
    remove_folder(folder);
}

static int64_t round_trip_with_failure(int64_t n)
{
    struct fkmi_tensor_file *file = NULL;
    void *bytes = NULL, *points = NULL;
    fkm_status status;
    size_t size;

    fkmi_memory_fail(n, 0);
    status = fkmi_tensors_to_bytes(tensors, N_TENSORS, texts, N_TEXTS, &bytes, &size);
    if (status == FKM_OK)
        status = fkmi_tensors_open_bytes(bytes, size, &file);
    if (status == FKM_OK)
        status = fkmi_tensors_read(file, "points", FKMI_TENSOR_F64, 2, (int64_t[]){3, 2}, &points);
    n = fkmi_memory_fail(0, 0);
    fkmi_free(points);
    fkmi_tensors_close(file);
    fkmi_free(bytes);
    CHECK(status == FKM_OK || status == FKM_ENOMEM);
    CHECK_INT(0, fkmi_memory_held());
    return n;
}

TEST(every_allocation_may_fail)
{
    int64_t n = 1;

    while (round_trip_with_failure(n) >= n)
        n++;
    CHECK(n > 8);
}
