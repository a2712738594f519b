/* words.h — text columns: the words of the rows are learned in a pass of their own, before anything else.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKM_CLI_WORDS_H
#define FKM_CLI_WORDS_H

#include "input.h"

/* Whether options about text go together and with the rest of the command. */
int words_check(const struct options *options);
/* With --text: reads the texts of path once; the schema then has the vectorizer that makes rows of them. */
int words_learn(const struct options *options, const char *path, struct schema *schema);
/* Options that are given again must be those the schema's vectorizer was made with. */
int words_check_same(const struct options *options, const char *checkpoint, const struct schema *schema);
/* A remark on what was learned, if anything was. */
void words_say(const struct schema *schema, const char *path);

#endif
