/* config.c — configuration files: one `name = value` a line; empty lines and lines that begin with # are
 * skipped.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "talk.h"

static char *trimmed(char *text)
{
    static const char blank[] = " \t\r\n";
    text += strspn(text, blank);
    size_t length = strlen(text);
    while (length > 0 && strchr(blank, text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* "value" in double quotes stands for what is between them. */
static char *unquoted(char *value)
{
    const size_t length = strlen(value);
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
        value[length - 1] = '\0';
        return value + 1;
    }
    return value;
}

static int take_line(char *line, const char *where, config_set_fn *set, struct options *options)
{
    char *name = trimmed(line);
    if (!*name || *name == '#')
        return EXIT_FINE;
    char *equals = strchr(name, '=');
    if (!equals)
        return fail(EXIT_USAGE, "%s'%s' is not of the form name = value", where, name);
    *equals = '\0';
    name = trimmed(name);
    if (!*name)
        return fail(EXIT_USAGE, "%sno name before '='", where);
    return set(options, name, unquoted(trimmed(equals + 1)), where);
}

/* The text of the file, to be freed; a byte order mark is left out. */
static int read_text(const char *path, char **text)
{
    enum { MOST_BYTES = 1 << 20 };
    FILE *file = fopen(path, "r");
    int code = EXIT_FINE;

    if (!file)
        return fail(EXIT_NO_INPUT, "cannot read %s: %s", path, strerror(errno));
    *text = need(MOST_BYTES + 2, 1);
    const size_t length = fread(*text, 1, MOST_BYTES + 1, file);
    if (ferror(file))
        code = fail(EXIT_NO_INPUT, "cannot read %s: %s", path, strerror(errno));
    else if (length > MOST_BYTES || strlen(*text) != length)
        code = fail(EXIT_USAGE, "%s is no configuration file: it %s", path,
                    length > MOST_BYTES ? "is longer than 1 MiB" : "holds a zero byte");
    fclose(file);
    if (strncmp(*text, "\xef\xbb\xbf", 3) == 0)
        memmove(*text, *text + 3, strlen(*text + 3) + 1);
    return code;
}

int config_read(const char *path, config_set_fn *set, struct options *options)
{
    struct text where = {0};
    char *text = NULL;
    int code = read_text(path, &text);
    char *line = text;

    for (long number = 1; code == EXIT_FINE && line; number++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        where.length = 0;
        text_printf(&where, "%s:%ld: ", path, number);
        code = take_line(line, where.bytes, set, options);
        line = end ? end + 1 : NULL;
    }
    free(text);
    text_free(&where);
    return code;
}
