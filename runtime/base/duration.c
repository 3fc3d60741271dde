#include "base/duration.h"

struct unit {
    const char *name;
    uint64_t factor;
};

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static const struct unit durations[] = {
    {"", SECOND},
    {"ms", 1},
    {"s", SECOND},
    {"m", MINUTE},
    {"h", HOUR},
    {"d", DAY},
    {"w", 7 * (uint64_t)DAY},
    {"y", 365 * (uint64_t)DAY},
    {0},
};

static const struct unit sizes[] = {
    {"", 1}, {"b", 1}, {"kb", 1024}, {"mb", 1024 * 1024}, {"gb", 1024 * 1024 * 1024}, {0},
};

/* Leaves room for "now plus this" in 64 bits. */
static const uint64_t MOST = INT64_MAX;

static const struct unit *find(const struct unit *units, struct str name)
{
    for (; units->name; units++) {
        if (str_equal_nocase(str_of(units->name), name))
            return units;
    }
    return NULL;
}

static bool is_digit(struct str s, size_t i)
{
    return i < s.len && s.at[i] >= '0' && s.at[i] <= '9';
}

/* Adds a digit `digit` places behind the point: what is less than one unit is dropped. */
static uint64_t fraction(struct str digits, uint64_t factor)
{
    uint64_t sum = 0, scale = 10;

    for (size_t i = 0; i < digits.len && scale <= 1000000; i++, scale *= 10)
        sum += (uint64_t)(digits.at[i] - '0') * factor / scale;
    return sum;
}

static bool parse(struct str text, const struct unit *units, uint64_t *out)
{
    uint64_t whole = 0, rest;
    struct str digits = {NULL, 0};
    const struct unit *unit;
    size_t i = 0;

    if (!is_digit(text, 0))
        return false;
    for (; is_digit(text, i); i++) {
        const uint64_t digit = (uint64_t)(text.at[i] - '0');
        if (whole > (MOST - digit) / 10)
            return false;
        whole = whole * 10 + digit;
    }
    if (i < text.len && text.at[i] == '.') {
        digits.at = text.at + ++i;
        while (is_digit(text, i))
            i++;
        digits.len = (size_t)(text.at + i - digits.at);
        if (digits.len == 0)
            return false;
    }
    unit = find(units, (struct str){text.at + i, text.len - i});
    if (!unit || whole > MOST / unit->factor)
        return false;
    rest = fraction(digits, unit->factor);
    if (rest > MOST - whole * unit->factor)
        return false;
    *out = whole * unit->factor + rest;
    return true;
}

bool duration_parse(struct str text, uint64_t *ms)
{
    return parse(text, durations, ms);
}

bool size_parse(struct str text, size_t *bytes)
{
    uint64_t value;

    if (!parse(text, sizes, &value) || value > SIZE_MAX)
        return false;
    *bytes = (size_t)value;
    return true;
}
