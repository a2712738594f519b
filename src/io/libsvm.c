/* libsvm.c — libsvm and XMC text as a source of sparse rows: "label index:value index:value # comment".
 *
 * Labels: a text for the classifier, "3,17" (tags from 0; a line that begins with a blank has none) for
 * multi-label, numbers for the regressor; the clusterer leaves them out. "qid:7" is skipped. A first line of
 * three bare integers is the XMC header "rows features labels". A position is "libsvm OFFSET LINE ROWS TAGS".
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/number.h"
#include "io/gather.h"
#include "io/lines.h"
#include "io/names.h"
#include "io/open.h"

struct libsvm {
    struct fkmi_bytes *bytes;
    struct fkmi_lines lines;
    struct fkmi_names names;
    struct fkmi_gather gather;
    fkm_task task;
    int64_t base;   /* of indices: 0 or 1 */
    int64_t n_tags; /* that are known to exist */
    int64_t rows;   /* read so far */
    /* the XMC header; -1: there is none */
    int64_t header_rows, header_cols, header_tags;
    int64_t data_offset, data_line; /* of the first row */
    int64_t first_tags;             /* n_tags there */
    char *note;
};

/* ---- tokens */

struct token {
    const char *text;
    size_t length;
};

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* The next run of anything but blanks in [*at, end); false when there is none. */
static bool next_token(const char **at, const char *end, struct token *token)
{
    const char *begin = *at, *stop;

    while (begin < end && is_blank(*begin))
        begin++;
    stop = begin;
    while (stop < end && !is_blank(*stop))
        stop++;
    *at = stop;
    *token = (struct token){begin, (size_t)(stop - begin)};
    return stop > begin;
}

static const char *end_without_comment(const char *text, size_t length)
{
    const char *comment = memchr(text, '#', length);

    return comment ? comment : text + length;
}

/* Splits "12:0.5" and reads the index, digits only; false when the token is nothing like it. */
static bool read_index(const struct token *token, int64_t *index, struct token *value)
{
    const char *at = token->text, *end = at + token->length;

    *index = 0;
    while (at < end && *at >= '0' && *at <= '9' && *index <= INT64_C(1000000000000))
        *index = 10 * *index + (*at++ - '0');
    if (at == token->text || at == end || *at != ':')
        return false;
    *value = (struct token){at + 1, (size_t)(end - at - 1)};
    return true;
}

static bool has_colon(const struct token *token) { return memchr(token->text, ':', token->length) != NULL; }

static fkm_status token_fail(const struct libsvm *libsvm, const struct token *token, const char *what)
{
    char shown[FKMI_EXCERPT_BYTES];

    fkmi_excerpt(shown, token->text, token->length);
    return fkmi_lines_fail(&libsvm->lines, FKM_EDATA, "\"%s\" %s", shown, what);
}

/* ---- labels */

static fkm_status put_tag(struct libsvm *libsvm, const struct token *token)
{
    int64_t tag;

    if (!fkmi_parse_int64(token->text, token->length, &tag) || tag < 0 || tag >= INT32_MAX)
        return token_fail(libsvm, token, "is not a tag (0, 1, 2, ...)");
    if (libsvm->header_tags >= 0 && tag >= libsvm->header_tags)
        return fkmi_lines_fail(&libsvm->lines, FKM_EDATA,
                               "tag %lld, but the header promises %lld tags from 0", (long long)tag,
                               (long long)libsvm->header_tags);
    return fkmi_gather_tag(&libsvm->gather, (int32_t)tag);
}

static fkm_status put_target(struct libsvm *libsvm, const struct token *token, int64_t t)
{
    struct fkmi_gather *gather = &libsvm->gather;
    double value;

    if (!fkmi_parse_double(token->text, token->length, &value) || !isfinite(value))
        return token_fail(libsvm, token, "is not a finite number");
    if (t < gather->n_targets) /* too many are counted and refused below */
        gather->targets[gather->n_rows * gather->n_targets + t] = value;
    return FKM_OK;
}

/* A label of parts between commas. */
static fkm_status put_list(struct libsvm *libsvm, const struct token *label)
{
    const char *at = label->text, *end = at + label->length;
    int64_t n = 0;

    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const struct token part = {at, (size_t)((comma ? comma : end) - at)};

        if (libsvm->task == FKM_TASK_MULTILABEL)
            FKMI_TRY(put_tag(libsvm, &part));
        else
            FKMI_TRY(put_target(libsvm, &part, n));
        n++;
        if (!comma)
            break;
        at = comma + 1;
    }
    if (libsvm->task == FKM_TASK_REGRESS && n != libsvm->gather.n_targets)
        return fkmi_lines_fail(&libsvm->lines, FKM_EDATA, "%lld targets, the first row has %lld",
                               (long long)n, (long long)libsvm->gather.n_targets);
    return FKM_OK;
}

static fkm_status put_label(struct libsvm *libsvm, const struct token *label)
{
    fkm_status status;

    switch (libsvm->task) {
    case FKM_TASK_CLASSIFY:
        if (memchr(label->text, ',', label->length))
            return token_fail(libsvm, label,
                              "is more than one label: a classifier has one, multi-label any number");
        status = fkmi_names_number(&libsvm->names, label->text, label->length,
                                   &libsvm->gather.labels[libsvm->gather.n_rows]);
        if (status == FKM_EDATA)
            return fkmi_lines_fail(&libsvm->lines, status, "%s", fkm_last_error());
        return status;
    case FKM_TASK_MULTILABEL:
    case FKM_TASK_REGRESS:
        return put_list(libsvm, label);
    default:
        return FKM_OK;
    }
}

/* ---- one line */

static fkm_status put_entry(struct libsvm *libsvm, const struct token *token)
{
    struct token text;
    int64_t index;
    double value;
    bool fits;

    if (token->length > 4 && memcmp(token->text, "qid:", 4) == 0)
        return FKM_OK;
    if (!read_index(token, &index, &text))
        return token_fail(libsvm, token, "is not index:value");
    if (index < libsvm->base)
        return fkmi_lines_fail(&libsvm->lines, FKM_EDATA, "index 0, but indices begin at 1 (%s)",
                               libsvm->note);
    if (index - libsvm->base >= libsvm->gather.n_cols)
        return fkmi_lines_fail(&libsvm->lines, FKM_EDATA, "index %lld, the largest of %lld columns is %lld",
                               (long long)index, (long long)libsvm->gather.n_cols,
                               (long long)(libsvm->gather.n_cols - 1 + libsvm->base));
    if (!fkmi_parse_double(text.text, text.length, &value) || !isfinite(value))
        return token_fail(libsvm, token, "holds no finite number");
    FKMI_TRY(fkmi_gather_entry(&libsvm->gather, (int32_t)(index - libsvm->base), value, &fits));
    return fits ? FKM_OK : token_fail(libsvm, token, "is out of the range of float32");
}

/* Tags found in the row just ended exist from now on. */
static void count_tags(struct libsvm *libsvm)
{
    const struct fkmi_gather *gather = &libsvm->gather;

    if (gather->n_tags > gather->tag_indptr[gather->n_rows - 1] &&
        gather->tags[gather->n_tags - 1] >= libsvm->n_tags)
        libsvm->n_tags = gather->tags[gather->n_tags - 1] + 1;
}

static fkm_status read_row(struct libsvm *libsvm, const struct fkmi_line *line, int64_t max_rows)
{
    const char *at = line->text, *end = end_without_comment(at, line->length);
    struct token token;
    bool more, is_tag;
    int32_t twice;

    FKMI_TRY(fkmi_gather_begin_rows(&libsvm->gather, 1, max_rows));
    more = next_token(&at, end, &token);
    if (more && !has_colon(&token) && !(is_blank(*line->text) && libsvm->task == FKM_TASK_MULTILABEL)) {
        FKMI_TRY(put_label(libsvm, &token));
        more = next_token(&at, end, &token);
    } else if (libsvm->task == FKM_TASK_CLASSIFY || libsvm->task == FKM_TASK_REGRESS) {
        return fkmi_lines_fail(&libsvm->lines, FKM_EDATA, "there is no label");
    }
    for (; more; more = next_token(&at, end, &token))
        FKMI_TRY(put_entry(libsvm, &token));
    if (!fkmi_gather_end_row(&libsvm->gather, &twice, &is_tag))
        return fkmi_lines_fail(&libsvm->lines, FKM_EDATA, "%s %lld is there twice", is_tag ? "tag" : "index",
                               (long long)twice + (is_tag ? 0 : libsvm->base));
    if (libsvm->gather.tagged)
        count_tags(libsvm);
    return FKM_OK;
}

/* Lines without anything, or with a comment only, are no rows; blanks alone are a row without labels and
 * entries. */
static bool is_row(const struct fkmi_line *line)
{
    return end_without_comment(line->text, line->length) > line->text;
}

static fkm_status check_end(const struct libsvm *libsvm)
{
    if (libsvm->header_rows >= 0 && libsvm->rows != libsvm->header_rows)
        return fkmi_fail(FKM_EDATA, "%s: the header promises %lld rows, there are %lld", libsvm->bytes->name,
                         (long long)libsvm->header_rows, (long long)libsvm->rows);
    return FKM_OK;
}

/* ---- the source */

static fkm_status libsvm_next(void *self, int64_t max_rows, fkm_batch *batch)
{
    struct libsvm *libsvm = self;
    fkm_status status = FKM_OK;

    if (max_rows < 1)
        return fkmi_fail(FKM_EINVAL, "max_rows is %lld, valid: >= 1", (long long)max_rows);
    fkmi_gather_restart(&libsvm->gather);
    while (status == FKM_OK && libsvm->gather.n_rows < max_rows) {
        struct fkmi_line line;

        status = fkmi_lines_peek(&libsvm->lines, &line);
        if (status != FKM_OK)
            break;
        if (!line.text) {
            status = check_end(libsvm);
            break;
        }
        if (is_row(&line)) {
            status = read_row(libsvm, &line, max_rows);
            if (status == FKM_OK)
                libsvm->rows++;
        }
        if (status == FKM_OK)
            fkmi_lines_advance(&libsvm->lines);
    }
    if (status != FKM_OK && libsvm->gather.n_rows == 0)
        return status; /* rows before a bad one go out first; the bad one is next again */
    fkmi_gather_batch(&libsvm->gather, libsvm->n_tags, batch);
    return FKM_OK;
}

static fkm_status libsvm_seek(void *self, const char *position)
{
    struct libsvm *libsvm = self;
    int64_t place[4] = {libsvm->data_offset, libsvm->data_line, 0, libsvm->first_tags};

    if (position)
        FKMI_TRY(fkmi_position_read(position, "libsvm", 4, place));
    if (place[0] < libsvm->data_offset || place[3] > INT32_MAX)
        return fkmi_fail(FKM_EINVAL, "\"%.60s\" is not a position in %s", position, libsvm->bytes->name);
    FKMI_TRY(fkmi_lines_seek(&libsvm->lines, place[0], place[1]));
    libsvm->rows = place[2];
    libsvm->n_tags = place[3];
    return FKM_OK;
}

static fkm_status libsvm_tell(void *self, char *position, size_t size)
{
    const struct libsvm *libsvm = self;
    const int64_t place[4] = {libsvm->lines.offset, libsvm->lines.line, libsvm->rows, libsvm->n_tags};

    return fkmi_position_write(position, size, "libsvm", 4, place);
}

static void free_all_but_bytes(struct libsvm *libsvm)
{
    fkmi_lines_free(&libsvm->lines);
    fkmi_names_free(&libsvm->names);
    fkmi_gather_free(&libsvm->gather);
    fkmi_free(libsvm->note);
    fkmi_free(libsvm);
}

static void libsvm_close(void *self)
{
    struct libsvm *libsvm = self;

    fkmi_bytes_close(libsvm->bytes);
    free_all_but_bytes(libsvm);
}

static int64_t class_count(const void *self) { return ((const struct libsvm *)self)->names.n; }

static const char *class_name(const void *self, int64_t index)
{
    const struct libsvm *libsvm = self;

    return index >= 0 && index < libsvm->names.n ? libsvm->names.texts[index] : NULL;
}

static const char *note(const void *self) { return ((const struct libsvm *)self)->note; }

/* ---- opening: header, base and width */

/* What a look at lines finds. Tokens that are not index:value are left for reading to complain about. */
struct found {
    int64_t largest; /* index; -1: none */
    bool zero;
};

static void look_at_line(const char *text, size_t length, struct found *found)
{
    const char *at = text, *end = end_without_comment(text, length);
    struct token token, value;
    int64_t index;

    while (next_token(&at, end, &token)) {
        if (!read_index(&token, &index, &value))
            continue;
        found->zero |= index == 0;
        if (index > found->largest)
            found->largest = index;
    }
}

static fkm_status look_at_block(struct libsvm *libsvm, struct found *found)
{
    const char *at, *end;
    size_t length;

    FKMI_TRY(fkmi_lines_look(&libsvm->lines, &at, &length));
    end = at + length;
    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        const char *stop = lf ? lf : end;

        look_at_line(at, (size_t)(stop - at), found);
        at = stop + 1;
    }
    return FKM_OK;
}

static fkm_status look_at_all(struct libsvm *libsvm, struct found *found)
{
    struct fkmi_line line;

    for (;;) {
        FKMI_TRY(fkmi_lines_peek(&libsvm->lines, &line));
        if (!line.text)
            break;
        look_at_line(line.text, line.length, found);
        fkmi_lines_advance(&libsvm->lines);
    }
    return fkmi_lines_seek(&libsvm->lines, libsvm->data_offset, libsvm->data_line);
}

/* "15539 5000 3993": exactly three integers on the first line. */
static fkm_status read_header(struct libsvm *libsvm)
{
    int64_t numbers[3];
    struct fkmi_line line;
    struct token token;
    const char *at, *end;
    int n = 0;

    libsvm->header_rows = libsvm->header_cols = libsvm->header_tags = -1;
    FKMI_TRY(fkmi_lines_peek(&libsvm->lines, &line));
    if (!line.text)
        return fkmi_fail(FKM_EDATA, "%s is empty", libsvm->bytes->name);
    at = line.text;
    end = at + line.length;
    while (next_token(&at, end, &token)) {
        if (n == 3 || !fkmi_parse_int64(token.text, token.length, &numbers[n]) || numbers[n] < 0)
            return FKM_OK;
        n++;
    }
    if (n < 3)
        return FKM_OK;
    if (numbers[1] > INT32_MAX || numbers[2] > INT32_MAX)
        return fkmi_lines_fail(&libsvm->lines, FKM_EDATA, "the header asks for more than %d columns or tags",
                               INT32_MAX);
    libsvm->header_rows = numbers[0];
    libsvm->header_cols = numbers[1];
    libsvm->header_tags = numbers[2];
    fkmi_lines_advance(&libsvm->lines);
    return FKM_OK;
}

static fkm_status decide_base_and_width(struct libsvm *libsvm, const fkm_source_options *options)
{
    struct found found = {-1, false};
    int64_t width = options->n_cols > 0 ? options->n_cols : libsvm->header_cols;
    const char *base_by = "as told", *width_by = options->n_cols > 0 ? "as told" : "XMC header";
    const bool look_for_base = options->index_base < 0 && libsvm->header_rows < 0;
    const bool everything = width < 0;

    if (everything && fkmi_bytes_forward_only(libsvm->bytes))
        return fkmi_fail(FKM_EUNSUPPORTED,
                         "%s can be read only once: the number of columns (n_cols) must be said",
                         libsvm->bytes->name);
    if (everything)
        FKMI_TRY(look_at_all(libsvm, &found));
    else if (look_for_base)
        FKMI_TRY(look_at_block(libsvm, &found));
    libsvm->base = options->index_base;
    if (options->index_base < 0) {
        libsvm->base = look_for_base && !found.zero ? 1 : 0;
        base_by = !look_for_base ? "XMC header"
                  : found.zero   ? "an index 0 was found"
                                 : "no index 0 was found";
    }
    if (everything) {
        if (found.largest < 0)
            return fkmi_fail(FKM_EDATA, "%s: no line has a feature (index:value)", libsvm->bytes->name);
        width = found.largest - libsvm->base + 1;
        width_by = "largest index of a first pass";
    }
    if (width < 1 || width > INT32_MAX)
        return fkmi_fail(FKM_EDATA, "%s: %lld columns (%s), valid: 1 to %d", libsvm->bytes->name,
                         (long long)width, width_by, INT32_MAX);
    libsvm->gather.n_cols = width;
    return fkmi_format(&libsvm->note, "index base %d (%s); %lld columns (%s)", (int)libsvm->base, base_by,
                       (long long)width, width_by);
}

/* The regressor's number of targets is that of the first row. */
static fkm_status count_targets(struct libsvm *libsvm)
{
    struct fkmi_line line;
    struct token token;
    const char *at, *text;
    size_t i;

    do {
        FKMI_TRY(fkmi_lines_peek(&libsvm->lines, &line));
        if (!line.text)
            break;
        if (is_row(&line)) {
            at = line.text;
            text = end_without_comment(line.text, line.length);
            libsvm->gather.n_targets = 1;
            if (next_token(&at, text, &token))
                for (i = 0; i < token.length; i++)
                    libsvm->gather.n_targets += token.text[i] == ',';
            break;
        }
        fkmi_lines_advance(&libsvm->lines);
    } while (true);
    return FKM_OK;
}

static fkm_status prepare(struct libsvm *libsvm, const fkm_source_options *options)
{
    FKMI_TRY(fkmi_lines_begin(&libsvm->lines, libsvm->bytes, false));
    FKMI_TRY(read_header(libsvm));
    libsvm->data_offset = libsvm->lines.offset;
    libsvm->data_line = libsvm->lines.line;
    libsvm->gather.sparse = true;
    libsvm->gather.dtype = options->dtype;
    libsvm->gather.labelled = libsvm->task == FKM_TASK_CLASSIFY;
    libsvm->gather.tagged = libsvm->task == FKM_TASK_MULTILABEL;
    FKMI_TRY(decide_base_and_width(libsvm, options));
    if (libsvm->task == FKM_TASK_REGRESS)
        FKMI_TRY(count_targets(libsvm));
    libsvm->data_offset =
        libsvm->lines.offset; /* behind lines that are no rows, where those were passed already */
    libsvm->data_line = libsvm->lines.line;
    FKMI_TRY(fkmi_names_begin(&libsvm->names, options->class_names, options->n_class_names));
    libsvm->first_tags =
        libsvm->header_tags > options->n_class_names ? libsvm->header_tags : options->n_class_names;
    libsvm->n_tags = libsvm->first_tags;
    return FKM_OK;
}

fkm_status fkmi_libsvm_open(struct fkmi_bytes *bytes, const fkm_source_options *options, fkm_source **out)
{
    const fkm_source_functions functions = {.struct_size = sizeof(fkm_source_functions),
                                            .next = libsvm_next,
                                            .seek = libsvm_seek,
                                            .tell = libsvm_tell,
                                            .close = libsvm_close};
    const struct fkmi_source_words words = {class_count, class_name, NULL, note,
                                            !fkmi_bytes_forward_only(bytes)};
    fkm_status status = FKM_OK;
    struct libsvm *libsvm = NULL;

    FKMI_TRY(fkmi_alloc(&libsvm, 1, sizeof *libsvm));
    libsvm->bytes = bytes;
    libsvm->task = options->task;
    FKMI_TRY_GOTO(prepare(libsvm, options));
    FKMI_TRY_GOTO(fkmi_source_create(&functions, &words, libsvm, out));
    libsvm = NULL;
done:
    if (libsvm)
        free_all_but_bytes(libsvm);
    return status;
}
