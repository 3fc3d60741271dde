/* The Gregorian calendar, and nothing of clocks: days are counted from 1970-01-01. */
#pragma once

#include <stdint.h>

enum { DAY_SECONDS = 86400 };

struct civil {
    int64_t year;
    int month, day; /* from 1 */
};

int64_t civil_days(int64_t year, int month, int day);
struct civil civil_from_days(int64_t days);
int civil_weekday(int64_t days); /* 0: Sunday */
int civil_month_days(int64_t year, int month);
