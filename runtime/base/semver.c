#include "base/semver.h"

/* Leaves room for the "+ 1" of ranges. */
static const uint64_t NUMBER_MAX = (UINT64_C(1) << 53) - 1;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_identifier(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.at[i]))
            return false;
    }
    return s.len > 0;
}

static struct str skip(struct str s, size_t n)
{
    return (struct str){s.at + n, s.len - n};
}

/* A number without leading zeros, off the front of `rest`. */
static bool take_number(struct str *rest, uint64_t *number)
{
    size_t len = 0;
    uint64_t value = 0;

    while (len < rest->len && is_digit(rest->at[len])) {
        value = value * 10 + (uint64_t)(rest->at[len++] - '0');
        if (value > NUMBER_MAX)
            return false;
    }
    if (len == 0 || (len > 1 && rest->at[0] == '0'))
        return false;
    *rest = skip(*rest, len);
    *number = value;
    return true;
}

static bool take_char(struct str *rest, char c)
{
    if (rest->len == 0 || rest->at[0] != c)
        return false;
    *rest = skip(*rest, 1);
    return true;
}

/* Dot-separated identifiers. Numeric ones of a prerelease have no leading zeros. */
static bool take_identifiers(struct str *rest, struct str *out, bool zeros_allowed)
{
    size_t start = 0, i = 0;

    for (;; i++) {
        if (i < rest->len && is_identifier(rest->at[i]))
            continue;
        const struct str one = {rest->at + start, i - start};
        if (one.len == 0 || (!zeros_allowed && one.len > 1 && one.at[0] == '0' && all_digits(one)))
            return false;
        if (i >= rest->len || rest->at[i] != '.')
            break;
        start = i + 1;
    }
    *out = (struct str){rest->at, i};
    *rest = skip(*rest, i);
    return true;
}

static bool take_tail(struct str *rest, struct semver *version)
{
    if (take_char(rest, '-') && !take_identifiers(rest, &version->prerelease, false))
        return false;
    return !take_char(rest, '+') || take_identifiers(rest, &version->build, true);
}

bool semver_parse(struct str text, struct semver *version)
{
    struct semver v = {0};

    if (!take_number(&text, &v.major) || !take_char(&text, '.') || !take_number(&text, &v.minor) ||
        !take_char(&text, '.') || !take_number(&text, &v.patch) || !take_tail(&text, &v) ||
        text.len > 0)
        return false;
    *version = v;
    return true;
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_bytes(struct str a, struct str b)
{
    const size_t len = a.len < b.len ? a.len : b.len;
    const int by_bytes = len ? memcmp(a.at, b.at, len) : 0;

    return by_bytes ? (by_bytes > 0) - (by_bytes < 0) : order(a.len, b.len);
}

/* Numbers are below words; numbers have no leading zeros, so the longer one is the greater. */
static int compare_identifier(struct str a, struct str b)
{
    const bool a_number = all_digits(a), b_number = all_digits(b);

    if (a_number != b_number)
        return a_number ? -1 : 1;
    if (a_number && a.len != b.len)
        return order(a.len, b.len);
    return compare_bytes(a, b);
}

static struct str cut_identifier(struct str *rest)
{
    const char *dot = memchr(rest->at, '.', rest->len);
    const struct str one = {rest->at, dot ? (size_t)(dot - rest->at) : rest->len};

    *rest = dot ? skip(*rest, one.len + 1) : (struct str){NULL, 0};
    return one;
}

static int compare_prerelease(struct str a, struct str b)
{
    if (a.len == 0 || b.len == 0)
        return order(a.len == 0, b.len == 0);
    while (a.len && b.len) {
        const int by = compare_identifier(cut_identifier(&a), cut_identifier(&b));
        if (by)
            return by;
    }
    return order(a.len > 0, b.len > 0);
}

int semver_compare(const struct semver *a, const struct semver *b)
{
    int by = order(a->major, b->major);

    if (!by)
        by = order(a->minor, b->minor);
    if (!by)
        by = order(a->patch, b->patch);
    return by ? by : compare_prerelease(a->prerelease, b->prerelease);
}
