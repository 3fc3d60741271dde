/* The rule in the footer of a time zone file (POSIX TZ, with the extensions of RFC 8536). Private
 * to base/zone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* The day of a year on which the clocks change, and when on that day. */
struct zone_day {
    char kind; /* 'M': month, week, weekday; 'J': 1 to 365 without leap days; 'N': 0 to 365 */
    int month, week, day;
    int64_t seconds; /* of the day, -167 to 167 hours */
};

struct zone_rule {
    int64_t offset, summer_offset;
    bool has_summer;
    struct zone_day begin, end; /* of summer time */
};

bool zone_rule_parse(struct str text, struct zone_rule *rule);

/* When the clocks change in a year, as seconds since 1970. */
int64_t zone_rule_begin(const struct zone_rule *rule, int64_t year);
int64_t zone_rule_end(const struct zone_rule *rule, int64_t year);
