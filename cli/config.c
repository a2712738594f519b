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

int config_read(const char *path, config_set_fn *set, struct options *options)
{
    struct text where = {0};
    char *line = NULL;
    size_t capacity = 0;
    int code = EXIT_FINE;
    FILE *file = fopen(path, "r");

    if (!file)
        return fail(EXIT_NO_INPUT, "cannot read %s: %s", path, strerror(errno));
    for (long number = 1; code == EXIT_FINE && getline(&line, &capacity, file) >= 0; number++) {
        where.length = 0;
        text_printf(&where, "%s:%ld: ", path, number);
        code = take_line(line, where.bytes, set, options);
    }
    if (code == EXIT_FINE && ferror(file))
        code = fail(EXIT_NO_INPUT, "cannot read %s: %s", path, strerror(errno));
    fclose(file);
    free(line);
    text_free(&where);
    return code;
}
