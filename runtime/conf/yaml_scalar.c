#include "conf/yaml.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

static const uint64_t EXACT = UINT64_C(1) << 53;

static size_t digits(struct str s, size_t i)
{
    while (i < s.len && s.at[i] >= '0' && s.at[i] <= '9')
        i++;
    return i;
}

static bool is_based(struct str s, char letter, const char *allowed)
{
    if (s.len < 3 || s.at[0] != '0' || s.at[1] != letter)
        return false;
    for (size_t i = 2; i < s.len; i++) {
        if (!s.at[i] || !strchr(allowed, s.at[i]))
            return false;
    }
    return true;
}

/* [-+]? digits, with `*whole` false when there is a point or an exponent too. */
static bool is_decimal(struct str s, bool *whole)
{
    const size_t start = s.len && (s.at[0] == '-' || s.at[0] == '+') ? 1 : 0;
    size_t i = digits(s, start), found = i - start;

    *whole = true;
    if (i < s.len && s.at[i] == '.') {
        const size_t from = i + 1;
        *whole = false;
        i = digits(s, from);
        found += i - from;
    }
    if (found == 0)
        return false;
    if (i < s.len && (s.at[i] == 'e' || s.at[i] == 'E')) {
        size_t from = i + 1;
        *whole = false;
        if (from < s.len && (s.at[from] == '-' || s.at[from] == '+'))
            from++;
        i = digits(s, from);
        if (i == from)
            return false;
    }
    return i == s.len;
}

static bool is_special(struct str s)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    const bool sign = s.len && (s.at[0] == '-' || s.at[0] == '+');
    const struct str rest = {s.at + sign, s.len - sign};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (str_equal(rest, str_of(words[i])))
            return i < 3 || !sign;
    }
    return false;
}

/* Counts no further than one above what is exact. */
static uint64_t count(struct str s, unsigned base)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s.len && sum <= EXACT; i++) {
        const char c = s.at[i];
        sum = sum * base + (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return sum;
}

static enum yaml_number whole_number(struct str digits_only, unsigned base, bool minus, double *out)
{
    const uint64_t number = count(digits_only, base);

    if (number > EXACT)
        return YAML_NUMBER_TOO_LARGE;
    *out = minus ? -(double)number : (double)number;
    return YAML_NUMBER;
}

static enum yaml_number real_number(struct str text, double *out)
{
    char *copy = mem_copy_n(text.at, text.len);
    const double number = strtod(copy, NULL);

    free(copy);
    if (!isfinite(number))
        return YAML_NUMBER_TOO_LARGE;
    *out = number;
    return YAML_NUMBER;
}

enum yaml_number yaml_number(struct str text, double *out)
{
    const size_t sign = text.len && (text.at[0] == '-' || text.at[0] == '+') ? 1 : 0;
    bool whole;

    if (is_special(text))
        return YAML_NUMBER_TOO_LARGE;
    if (is_based(text, 'o', "01234567"))
        return whole_number((struct str){text.at + 2, text.len - 2}, 8, false, out);
    if (is_based(text, 'x', "0123456789abcdefABCDEF"))
        return whole_number((struct str){text.at + 2, text.len - 2}, 16, false, out);
    if (!is_decimal(text, &whole))
        return YAML_NOT_A_NUMBER;
    if (!whole)
        return real_number(text, out);
    return whole_number((struct str){text.at + sign, text.len - sign}, 10, text.at[0] == '-', out);
}
