/* number.h — numbers to and from text, whatever the locale.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FKMI_BASE_NUMBER_H
#define FKMI_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads all of text[0 .. length) as one number; false when anything is left over, empty or out of range (too
 * large; a double too small is the nearest one, perhaps 0). Doubles are correctly rounded; "nan", "inf", "infinity" (any case, signed) are read, hex floats are not. */
bool fkmi_parse_double(const char *text, size_t length, double *out);
bool fkmi_parse_int64(const char *text, size_t length, int64_t *out);
/* Shortest text that reads back to the same double ("%.17g" or shorter); at most 32 bytes with the zero. */
void fkmi_print_double(char text[32], double value);

#endif
