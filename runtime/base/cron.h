/* Schedules as cron has them: minute, hour, day of the month, month, day of the week.
 *
 * A field is `*`, numbers, names (jan, mon), ranges, lists and steps; Sunday is 0 or 7. Where both
 * days are restricted (neither begins with `*`) one of them is enough. `@hourly @daily @weekly
 * @monthly @yearly` stand for lines.
 *
 * Where clocks are set forward, a time that does not exist is the moment right after; where they
 * are set back, a time that exists twice is the first of the two. A line that names every hour
 * goes by the clock that runs on: it is neither late nor left out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct zone;

struct cron {
    uint64_t minutes; /* bit n: n is in it */
    uint32_t hours, days, months, weekdays;
    bool any_day, any_weekday; /* the field begins with `*` */
};

/* The message of `err` names the line and the column. A line that no date fits is an error. */
bool cron_parse(struct str line, struct cron *cron, struct err *err);

/* The first time after `after`, in seconds since 1970. */
int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after);
