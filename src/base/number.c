/* number.c — decimal numbers to and from text without looking at the locale.
 *
 * Most numbers in files have few digits: mantissa and power of ten are then exact, and one operation rounds
 * once (Clinger 1990). Where long double has 64 bits, 19 digits and powers up to 10^27 go the same way unless
 * the result lies too near the middle of two doubles. The rest goes to strtod as digits with an exponent:
 * without a decimal point there is nothing a locale could read differently.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DIGITS    800    /* 767 decide any double; one more stands for all that follow */
#define MOST_EXPONENT  100000 /* beyond it everything is 0 or infinite */
#define EXACT_MANTISSA ((uint64_t)1 << 53)

/* A number as written: digits[0 .. n_digits) times 10^exponent. */
struct decimal {
    const char *digits; /* first significant digit; a '.' may stand among them */
    int64_t n_digits;
    int64_t exponent;
    uint64_t mantissa; /* the first 19 significant digits at most */
    bool negative;
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Same letters, in any case; word is in lower case. */
static bool is_word(const char *text, size_t length, const char *word)
{
    if (strlen(word) != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];

        if (c != word[i])
            return false;
    }
    return true;
}

static bool read_exponent(const char *at, const char *end, int64_t *out)
{
    bool negative = false;
    int64_t exponent = 0;

    if (at < end && (*at == '+' || *at == '-'))
        negative = *at++ == '-';
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (!is_digit(*at))
            return false;
        if (exponent <= INT64_MAX / 100)
            exponent = exponent * 10 + (*at - '0');
    }
    *out = negative ? -exponent : exponent;
    return true;
}

/* [digits] [. digits] [e exponent], at least one digit before e. */
static bool read_decimal(const char *at, const char *end, struct decimal *out)
{
    bool any = false, point = false;
    int64_t exponent = 0;

    for (; at < end; at++) {
        if (is_digit(*at)) {
            any = true;
            exponent -= point;
            if (out->n_digits == 0) {
                if (*at == '0')
                    continue;
                out->digits = at;
            }
            if (++out->n_digits <= 19)
                out->mantissa = out->mantissa * 10 + (uint64_t)(*at - '0');
        } else if (*at == '.' && !point)
            point = true;
        else
            break;
    }
    if (!any)
        return false;
    if (at < end) {
        int64_t written;

        if ((*at != 'e' && *at != 'E') || !read_exponent(at + 1, end, &written))
            return false;
        exponent += written;
    }
    out->exponent = exponent;
    return true;
}

/* One exact operation, when that is possible. */
static bool quick_value(const struct decimal *decimal, double *out)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const int64_t exponent = decimal->exponent;

    if (decimal->n_digits > 19)
        return false;
    if (decimal->mantissa <= EXACT_MANTISSA && exponent >= -22 && exponent <= 22) {
        *out = exponent < 0 ? (double)decimal->mantissa / powers[-exponent]
                            : (double)decimal->mantissa * powers[exponent];
        return true;
    }
#if LDBL_MANT_DIG == 64 && (defined(__x86_64__) || defined(__i386__))
    if (exponent >= -27 && exponent <= 27) {
        static const long double long_powers[] = {
            1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
            1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
        const long double value = exponent < 0 ? (long double)decimal->mantissa / long_powers[-exponent]
                                               : (long double)decimal->mantissa * long_powers[exponent];
        uint64_t bits, rest;

        memcpy(&bits, &value, sizeof bits); /* the mantissa of an x87 number comes first */
        rest = bits & 0x7ff; /* what rounding to 53 bits drops; 0 also where valgrind has no more bits */
        if (rest != 0 && (rest < 0x3ff || rest > 0x401)) {
            *out = (double)value;
            return true;
        }
    }
#endif
    return false;
}

/* Any number of digits, any exponent. */
static double slow_value(const struct decimal *decimal)
{
    char text[MOST_DIGITS + 32];
    const char *at = decimal->digits;
    int64_t n = 0, exponent = decimal->exponent;
    bool more = false;

    for (int64_t seen = 0; seen < decimal->n_digits; at++) {
        if (*at == '.')
            continue;
        seen++;
        if (n < MOST_DIGITS)
            text[n++] = *at;
        else {
            more = more || *at != '0';
            exponent++;
        }
    }
    if (more) { /* a last digit that says "and a little" */
        text[n++] = '1';
        exponent--;
    }
    exponent = exponent > MOST_EXPONENT    ? MOST_EXPONENT
               : exponent < -MOST_EXPONENT ? -MOST_EXPONENT
                                           : exponent;
    snprintf(text + n, sizeof text - (size_t)n, "e%lld", (long long)exponent);
    return strtod(text, NULL);
}

bool fkmi_parse_double(const char *text, size_t length, double *out)
{
    const char *end = text + length;
    struct decimal decimal = {0};
    double value;

    if (text < end && (*text == '+' || *text == '-'))
        decimal.negative = *text++ == '-';
    if (text == end)
        return false;
    if (!is_digit(*text) && *text != '.') {
        const size_t rest = (size_t)(end - text);

        if (is_word(text, rest, "nan"))
            value = NAN;
        else if (is_word(text, rest, "inf") || is_word(text, rest, "infinity"))
            value = INFINITY;
        else
            return false;
    } else {
        if (!read_decimal(text, end, &decimal))
            return false;
        if (decimal.n_digits == 0)
            value = 0.0;
        else if (!quick_value(&decimal, &value)) {
            value = slow_value(&decimal);
            if (value > DBL_MAX)
                return false;
        }
    }
    *out = decimal.negative ? -value : value;
    return true;
}

bool fkmi_parse_int64(const char *text, size_t length, int64_t *out)
{
    const char *end = text + length;
    bool negative = false;
    uint64_t value = 0, most;

    if (text < end && (*text == '+' || *text == '-'))
        negative = *text++ == '-';
    if (text == end)
        return false;
    most = (uint64_t)INT64_MAX + negative;
    for (; text < end; text++) {
        const uint64_t digit = (uint64_t)(*text - '0');

        if (!is_digit(*text) || value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* printf writes the locale's decimal point, of one byte or more; we write '.'. */
static void put_point(char *text)
{
    char *from = text, *to = text;
    bool point = false;

    for (; *from; from++) {
        if (is_digit(*from) || *from == '-' || *from == '+' || *from == 'e')
            *to++ = *from;
        else if (!point) {
            *to++ = '.';
            point = true;
        }
    }
    *to = '\0';
}

void fkmi_print_double(char text[32], double value)
{
    /* 15 digits always survive a double, but for subnormals fewer may be enough. */
    const int first = fabs(value) < DBL_MIN ? 1 : 15;

    if (isnan(value)) {
        memcpy(text, "nan", 4);
        return;
    }
    if (isinf(value)) {
        memcpy(text, value < 0 ? "-inf" : "inf", value < 0 ? 5 : 4);
        return;
    }
    for (int digits = first; digits <= 17; digits++) {
        double back;

        snprintf(text, 32, "%.*g", digits, value);
        put_point(text);
        if (fkmi_parse_double(text, strlen(text), &back) && back == value)
            return;
    }
}
