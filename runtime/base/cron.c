#include "base/cron.h"

#include <stdio.h>

#include "base/civil.h"
#include "base/zone.h"

enum { FIELDS = 5, NAMES_MAX = 12, HOURS_ALL = 0xFFFFFF };

static const struct field {
    const char *name;
    unsigned low, high;
    const char *names[NAMES_MAX]; /* of low, low + 1, ... */
    const char *names_text;
} fields[FIELDS] = {
    {"minute", 0, 59, {NULL}, ""},
    {"hour", 0, 23, {NULL}, ""},
    {"day of the month", 1, 31, {NULL}, ""},
    {"month",
     1,
     12,
     {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"},
     " or jan to dec"},
    {"day of the week", 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, " or sun to sat"},
};

static const struct {
    const char *name, *line;
} shorthands[] = {
    {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
};

/* --- parsing --- */

struct parser {
    struct str line;
    size_t at;
    const struct field *field;
    struct err *err;
};

static bool wrong(struct parser *parser, size_t at, const char *text)
{
    return err_set(parser->err, "INVALID_CRON", "\"%.*s\": column %zu: %s",
                   (int)(parser->line.len < 200 ? parser->line.len : 200), parser->line.at, at + 1,
                   text);
}

static bool wrong_value(struct parser *parser, size_t at)
{
    const struct field *field = parser->field;
    char text[160];
    size_t len = 0;

    while (at + len < parser->line.len && !strchr(" \t,-/", parser->line.at[at + len]) && len < 20)
        len++;
    if (len == 0)
        snprintf(text, sizeof(text), "the %s is missing", field->name);
    else
        snprintf(text, sizeof(text), "the %s must be %u to %u%s, got %.*s", field->name, field->low,
                 field->high, field->names_text, (int)len, parser->line.at + at);
    return wrong(parser, at, text);
}

static char peek(const struct parser *parser)
{
    return parser->at < parser->line.len ? parser->line.at[parser->at] : '\0';
}

static bool take(struct parser *parser, char c)
{
    if (parser->at >= parser->line.len || parser->line.at[parser->at] != c)
        return false;
    parser->at++;
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

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool parse_name(struct parser *parser, unsigned *value)
{
    struct str word = {parser->line.at + parser->at, 0};

    while (is_letter(peek(parser))) {
        parser->at++;
        word.len++;
    }
    for (unsigned i = 0; i < NAMES_MAX && parser->field->names[i]; i++) {
        if (str_equal_nocase(word, str_of(parser->field->names[i]))) {
            *value = parser->field->low + i;
            return true;
        }
    }
    return false;
}

/* At most four digits, so that nothing overflows. */
static bool parse_number(struct parser *parser, unsigned *value)
{
    const size_t from = parser->at;

    *value = 0;
    while (is_digit(peek(parser)) && parser->at - from < 4)
        *value = *value * 10 + (unsigned)(parser->line.at[parser->at++] - '0');
    return parser->at > from && !is_digit(peek(parser));
}

static bool parse_value(struct parser *parser, unsigned *value)
{
    const size_t from = parser->at;
    const bool ok =
        is_letter(peek(parser)) ? parse_name(parser, value) : parse_number(parser, value);

    if (!ok || *value < parser->field->low || *value > parser->field->high)
        return wrong_value(parser, from);
    return true;
}

static bool parse_step(struct parser *parser, unsigned *step)
{
    const size_t from = parser->at;

    if (!parse_number(parser, step) || *step == 0 || *step > parser->field->high)
        return wrong(parser, from, "the step must be a number from 1 to the field's largest");
    return true;
}

static bool parse_range(struct parser *parser, unsigned *low, unsigned *high, bool *open)
{
    const size_t from = parser->at;

    *open = take(parser, '*');
    *low = parser->field->low;
    *high = parser->field->high;
    if (*open)
        return true;
    if (!parse_value(parser, low))
        return false;
    *high = *low;
    if (!take(parser, '-')) {
        *open = true; /* a step goes on to the end */
        return true;
    }
    if (!parse_value(parser, high))
        return false;
    if (*high == 0 && *low > 0 && parser->field->high == 7)
        *high = 7; /* fri-sun */
    return *low <= *high || wrong(parser, from, "the range goes backward");
}

/* One of a list: a value, a range, `*`, each with a step. */
static bool parse_item(struct parser *parser, uint64_t *bits)
{
    unsigned low, high, step = 1;
    bool open;

    if (!parse_range(parser, &low, &high, &open))
        return false;
    if (take(parser, '/')) {
        if (!parse_step(parser, &step))
            return false;
        if (open)
            high = parser->field->high;
    }
    for (unsigned value = low; value <= high; value += step)
        *bits |= (uint64_t)1 << value;
    return true;
}

static bool parse_field(struct parser *parser, const struct field *field, uint64_t *bits)
{
    const size_t from = parser->at;

    parser->field = field;
    *bits = 0;
    do {
        if (!parse_item(parser, bits))
            return false;
    } while (take(parser, ','));
    if (parser->at < parser->line.len && !is_blank(peek(parser)))
        return wrong_value(parser, from);
    while (is_blank(peek(parser)))
        parser->at++;
    return true;
}

static bool parse_fields(struct parser *parser, struct cron *cron)
{
    uint64_t bits[FIELDS];

    while (is_blank(peek(parser)))
        parser->at++;
    for (size_t i = 0; i < FIELDS; i++) {
        if (i == 2)
            cron->any_day = peek(parser) == '*';
        if (i == 4)
            cron->any_weekday = peek(parser) == '*';
        if (!parse_field(parser, &fields[i], &bits[i]))
            return false;
    }
    if (parser->at < parser->line.len)
        return wrong(parser, parser->at, "there are more than five fields");
    cron->minutes = bits[0];
    cron->hours = (uint32_t)bits[1];
    cron->days = (uint32_t)bits[2];
    cron->months = (uint32_t)bits[3];
    cron->weekdays = (uint32_t)((bits[4] & 127) | bits[4] >> 7);
    return true;
}

/* --- the calendar: local seconds, without any zone --- */

static bool day_fits(const struct cron *cron, const struct civil *date, int weekday)
{
    const bool day = cron->days >> date->day & 1, of_week = cron->weekdays >> weekday & 1;

    if (cron->any_day || cron->any_weekday)
        return day && of_week;
    return day || of_week;
}

/* The first day from `day` up to `last` that fits; more than `last` when there is none. */
static int64_t find_day(const struct cron *cron, int64_t day, int64_t last)
{
    while (day <= last) {
        const struct civil date = civil_from_days(day);

        if (!(cron->months >> date.month & 1))
            day += civil_month_days(date.year, date.month) - date.day + 1;
        else if (day_fits(cron, &date, civil_weekday(day)))
            return day;
        else
            day++;
    }
    return day;
}

/* The first minute of the day from `minute` on that fits; -1 when there is none. */
static int find_minute(const struct cron *cron, int minute)
{
    for (int hour = minute / 60; hour < 24; hour++, minute = 0) {
        uint64_t left;

        if (!(cron->hours >> hour & 1))
            continue;
        left = cron->minutes >> minute % 60 << minute % 60;
        if (left)
            return hour * 60 + __builtin_ctzll(left);
    }
    return -1;
}

static int64_t day_of(int64_t local)
{
    return local / DAY_SECONDS - (local % DAY_SECONDS < 0);
}

/* The first local time from `from` up to `last` that fits. */
static bool find_local(const struct cron *cron, int64_t from, int64_t last, int64_t *found)
{
    const int64_t first = day_of(from), last_day = day_of(last);
    const int minute = (int)((from - first * DAY_SECONDS + 59) / 60); /* 1440: the next day's */
    int64_t day = find_day(cron, first, last_day);

    for (; day <= last_day; day = find_day(cron, day + 1, last_day)) {
        const int fits = find_minute(cron, day == first ? minute : 0);

        if (fits < 0)
            continue;
        *found = day * DAY_SECONDS + fits * 60;
        return *found <= last;
    }
    return false;
}

bool cron_parse(struct str line, struct cron *cron, struct err *err)
{
    struct parser parser = {.line = line, .err = err};
    const int64_t leap_cycle = (int64_t)146097 * DAY_SECONDS;
    int64_t found;

    for (size_t i = 0; i < sizeof(shorthands) / sizeof(shorthands[0]); i++) {
        if (str_equal(line, str_of(shorthands[i].name)))
            parser.line = str_of(shorthands[i].line);
    }
    if (parser.line.len > 0 && parser.line.at[0] == '@')
        return wrong(&parser, 0,
                     "expected five fields, or @hourly, @daily, @weekly, @monthly or @yearly");
    if (!parse_fields(&parser, cron))
        return false;
    return find_local(cron, 0, leap_cycle, &found) || wrong(&parser, 0, "there is no such date");
}

/* --- the clock --- */

/* Where the clocks were set back at the start of the span, the local time until which it repeats
 * what was there before.
 */
static int64_t repeats_until(const struct zone *zone, const struct zone_span *span)
{
    if (span->start == INT64_MIN)
        return INT64_MIN;
    return span->start + zone_span(zone, span->start - 1).offset;
}

/* The first time in the span, of those after `after`. */
static bool find_in_span(const struct cron *cron,
                         const struct zone *zone,
                         const struct zone_span *span,
                         int64_t after,
                         int64_t horizon,
                         int64_t *at)
{
    const int64_t end = span->end < horizon ? span->end : horizon;
    int64_t from = after + 1 + span->offset, local;

    if (cron->hours != HOURS_ALL) {
        const int64_t repeated = repeats_until(zone, span);
        from = from > repeated ? from : repeated;
    }
    if (!find_local(cron, from, end - 1 + span->offset, &local))
        return false;
    *at = local - span->offset;
    return true;
}

/* Whether a time that does not exist falls into the jump at the end of the span. */
static bool
falls_into_jump(const struct cron *cron, const struct zone *zone, const struct zone_span *span)
{
    const int64_t gap = zone_span(zone, span->end).offset - span->offset;
    int64_t local;

    return gap > 0 && cron->hours != HOURS_ALL &&
           find_local(cron, span->end + span->offset, span->end + span->offset + gap - 1, &local);
}

int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after)
{
    /* Dates repeat after 400 years; a line that was parsed has one. */
    const int64_t horizon = after + (int64_t)2 * 146097 * DAY_SECONDS;
    int64_t at;

    while (after < horizon) {
        const struct zone_span span = zone_span(zone, after + 1);

        if (find_in_span(cron, zone, &span, after, horizon, &at))
            return at;
        if (span.end >= horizon)
            break;
        if (falls_into_jump(cron, zone, &span))
            return span.end;
        after = span.end - 1;
    }
    return horizon;
}
