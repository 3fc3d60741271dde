#include "base/zone_rule.h"

#include "base/civil.h"

enum { HOUR = 3600 };

struct cursor {
    struct str left;
    bool failed;
};

static char peek(const struct cursor *cursor)
{
    return cursor->left.len > 0 ? *cursor->left.at : '\0';
}

static bool take(struct cursor *cursor, char c)
{
    if (cursor->left.len == 0 || *cursor->left.at != c)
        return false;
    cursor->left.at++;
    cursor->left.len--;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static int number(struct cursor *cursor, int low, int high)
{
    int value = 0;

    if (!is_digit(peek(cursor)))
        cursor->failed = true;
    while (!cursor->failed && is_digit(peek(cursor))) {
        value = value * 10 + (peek(cursor) - '0');
        take(cursor, peek(cursor));
        cursor->failed = value > high;
    }
    cursor->failed |= value < low;
    return value;
}

/* hh[:mm[:ss]] with a sign, as seconds */
static int64_t duration(struct cursor *cursor, int hours)
{
    const bool minus = take(cursor, '-');
    int64_t seconds;

    if (!minus)
        take(cursor, '+');
    seconds = (int64_t)number(cursor, 0, hours) * HOUR;
    if (take(cursor, ':')) {
        seconds += number(cursor, 0, 59) * 60;
        if (take(cursor, ':'))
            seconds += number(cursor, 0, 59);
    }
    return minus ? -seconds : seconds;
}

/* "CET" or "<+0530>"; what it is called does not matter here. */
static void skip_name(struct cursor *cursor)
{
    const bool quoted = take(cursor, '<');
    size_t len = 0;

    while (is_letter(peek(cursor)) ||
           (quoted && (is_digit(peek(cursor)) || peek(cursor) == '+' || peek(cursor) == '-'))) {
        take(cursor, peek(cursor));
        len++;
    }
    cursor->failed |= len < 3 || (quoted && !take(cursor, '>'));
}

static void expect(struct cursor *cursor, char c)
{
    cursor->failed |= !take(cursor, c);
}

static struct zone_day parse_day(struct cursor *cursor)
{
    struct zone_day day = {.kind = 'N', .seconds = 2 * HOUR};

    expect(cursor, ',');
    if (take(cursor, 'M')) {
        day.kind = 'M';
        day.month = number(cursor, 1, 12);
        expect(cursor, '.');
        day.week = number(cursor, 1, 5);
        expect(cursor, '.');
        day.day = number(cursor, 0, 6);
    } else if (take(cursor, 'J')) {
        day.kind = 'J';
        day.day = number(cursor, 1, 365);
    } else {
        day.day = number(cursor, 0, 365);
    }
    if (take(cursor, '/'))
        day.seconds = duration(cursor, 167);
    return day;
}

bool zone_rule_parse(struct str text, struct zone_rule *rule)
{
    struct cursor cursor = {.left = text};

    *rule = (struct zone_rule){.has_summer = false};
    skip_name(&cursor);
    rule->offset = -duration(&cursor, 24);
    if (!cursor.failed && cursor.left.len > 0) {
        rule->has_summer = true;
        skip_name(&cursor);
        rule->summer_offset = rule->offset + HOUR;
        if (peek(&cursor) != ',' && cursor.left.len > 0)
            rule->summer_offset = -duration(&cursor, 24);
        if (cursor.left.len == 0) /* without dates: those of the United States, as libc has it */
            cursor.left = STR(",M3.2.0,M11.1.0");
        rule->begin = parse_day(&cursor);
        rule->end = parse_day(&cursor);
    }
    return !cursor.failed && cursor.left.len == 0;
}

static int64_t days_of(const struct zone_day *day, int64_t year)
{
    const int64_t january = civil_days(year, 1, 1);
    const int64_t first = day->kind == 'M' ? civil_days(year, day->month, 1) : 0;
    int of_month;

    if (day->kind == 'N')
        return january + day->day;
    if (day->kind == 'J')
        return january + day->day - 1 + (day->day >= 60 && civil_month_days(year, 2) == 29);
    of_month = (day->day - civil_weekday(first) + 7) % 7 + 7 * (day->week - 1);
    if (of_month >= civil_month_days(year, day->month)) /* the fifth week is the last */
        of_month -= 7;
    return first + of_month;
}

int64_t zone_rule_begin(const struct zone_rule *rule, int64_t year)
{
    return days_of(&rule->begin, year) * DAY_SECONDS + rule->begin.seconds - rule->offset;
}

int64_t zone_rule_end(const struct zone_rule *rule, int64_t year)
{
    return days_of(&rule->end, year) * DAY_SECONDS + rule->end.seconds - rule->summer_offset;
}
