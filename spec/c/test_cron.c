/* Cron lines, against a table and against a walk over every minute; time zones, against libc's. */
#include <dirent.h>
#include <sys/stat.h>
#include <time.h>

#include "base/civil.h"
#include "base/cron.h"
#include "base/zone.h"

#include "check.h"

/* --- the calendar --- */

static void test_civil(void)
{
    CHECK(civil_days(1970, 1, 1) == 0);
    CHECK(civil_days(2000, 2, 29) == 11016);
    CHECK(civil_weekday(0) == 4);
    CHECK(civil_month_days(1900, 2) == 28 && civil_month_days(2000, 2) == 29);
    for (int64_t day = -150000; day < 150000; day++) {
        const struct civil date = civil_from_days(day);
        const time_t at = (time_t)day * DAY_SECONDS;
        struct tm tm;

        gmtime_r(&at, &tm);
        CHECK(date.year == tm.tm_year + 1900 && date.month == tm.tm_mon + 1 &&
              date.day == tm.tm_mday && civil_weekday(day) == tm.tm_wday);
        CHECK(civil_days(date.year, date.month, date.day) == day);
    }
}

/* --- zones --- */

static struct zone *load(const char *name)
{
    struct err err;
    struct zone *zone = zone_load(name, &err);

    if (!zone) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return zone;
}

static void use_libc_zone(const char *name)
{
    setenv("TZ", name, 1);
    tzset();
}

static long libc_offset(int64_t at)
{
    const time_t time = (time_t)at;
    struct tm tm;

    localtime_r(&time, &tm);
    return tm.tm_gmtoff;
}

static void check_offset(const char *name, const struct zone *zone, int64_t at)
{
    const struct zone_span span = zone_span(zone, at);

    if (span.offset != libc_offset(at) || span.start > at || span.end <= at) {
        fprintf(stderr, "%s at %lld: offset %lld in %lld..%lld, libc has %ld\n", name,
                (long long)at, (long long)span.offset, (long long)span.start, (long long)span.end,
                libc_offset(at));
        exit(1);
    }
}

/* 1900 to 2150, one moment in 61 days and both sides of every change. */
static void compare_zone(const char *name)
{
    struct zone *zone = load(name);
    const int64_t first = civil_days(1900, 1, 1) * DAY_SECONDS;
    const int64_t last = civil_days(2150, 1, 1) * DAY_SECONDS;

    use_libc_zone(name);
    for (int64_t at = first; at < last; at += 61 * DAY_SECONDS + 12345)
        check_offset(name, zone, at);
    for (int64_t at = first; at < last;) {
        const struct zone_span span = zone_span(zone, at);

        if (span.end >= last)
            break;
        check_offset(name, zone, span.end - 1);
        check_offset(name, zone, span.end);
        at = span.end;
    }
    zone_free(zone);
}

static unsigned compare_folder(const char *prefix)
{
    char path[512], name[256];
    unsigned count = 0;
    struct dirent *entry;
    struct stat status;
    DIR *folder;

    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", prefix);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        if (entry->d_name[0] < 'A' || entry->d_name[0] > 'Z')
            continue;
        snprintf(name, sizeof(name), "%.50s%.200s", prefix, entry->d_name);
        snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
        if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        compare_zone(name);
        count++;
    }
    if (folder)
        closedir(folder);
    return count;
}

static void test_zones(void)
{
    static const char *const folders[] = {"Africa/",   "America/",   "Antarctica/", "Asia/",
                                          "Atlantic/", "Australia/", "Europe/",     "Indian/",
                                          "Pacific/",  "Etc/"};
    static const char *const strange[] = {
        "Europe/Dublin", "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Apia",
        "America/Nuuk",  "Asia/Kathmandu",    "Asia/Gaza",           "Africa/Cairo"};
    unsigned count = 0;

    for (size_t i = 0; i < LEN(strange); i++)
        compare_zone(strange[i]);
    for (size_t i = 0; i < LEN(folders); i++)
        count += compare_folder(folders[i]);
    CHECK(count > 300);
}

static void test_zone_names(void)
{
    static const char *const bad[] = {
        "",    "../etc/passwd", "/etc/passwd",     "Europe/../UTC", "Europe", "Nowhere/Town",
        "a b", "zone.tab",      "Europe/Ber\nlin", "posixrules.x"};
    struct err err;

    for (size_t i = 0; i < LEN(bad); i++)
        CHECK(!zone_load(bad[i], &err));
    zone_load("Nowhere/Town", &err);
    CHECK_STR(err.message,
              "the time zone \"Nowhere/Town\" is not known (expected an IANA name such "
              "as Europe/Berlin; they are in the package tzdata)");
}

static void test_rules(void)
{
    static const struct {
        const char *rule;
        int64_t at, offset;
    } rules[] = {
        {"UTC0", 0, 0},
        {"<+0530>-5:30", 0, 19800},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 1774745999, 3600}, /* 2026-03-29 00:59:59Z */
        {"CET-1CEST,M3.5.0,M10.5.0/3", 1774746000, 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 1792889999, 7200}, /* 2026-10-25 00:59:59Z */
        {"CET-1CEST,M3.5.0,M10.5.0/3", 1792890000, 3600},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 1782000000, 3600}, /* June: Irish standard time */
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 1768000000, 0},    /* January */
        {"EST5EDT", 1782000000, -14400},
        {"XXX3YYY,J1/0,J365/25", 1782000000, -7200}, /* summer all year */
        {"XXX3YYY,J1/0,J365/25", 1767235500, -7200},
        {"XXX0YYY,59,60/-24", 1709164800 - 1, 0}, /* 2024-02-29 by number */
    };
    static const char *const bad[] = {"",
                                      "U",
                                      "UTC",
                                      "UTC0x",
                                      "<+05-5",
                                      "CET-1CEST,",
                                      "CET-1CEST,M3.5.0",
                                      "CET-25",
                                      "CET-1CEST,M13.5.0,M10.5.0",
                                      "CET-1CEST,M3.6.0,M10.5.0",
                                      "CET-1CEST,M3.5.7,M10.5.0",
                                      "CET-1CEST,J0,J5",
                                      "CET-1CEST,366,J5",
                                      "CET-1CEST,1/168,J5",
                                      "CET-99999999999999999999"};

    for (size_t i = 0; i < LEN(rules); i++) {
        struct zone *zone = zone_from_rule(str_of(rules[i].rule));
        CHECK(zone != NULL);
        if (zone_span(zone, rules[i].at).offset != rules[i].offset) {
            fprintf(stderr, "%s at %lld: %lld\n", rules[i].rule, (long long)rules[i].at,
                    (long long)zone_span(zone, rules[i].at).offset);
            exit(1);
        }
        zone_free(zone);
    }
    for (size_t i = 0; i < LEN(bad); i++) {
        if (zone_from_rule(str_of(bad[i]))) {
            fprintf(stderr, "taken: %s\n", bad[i]);
            exit(1);
        }
    }
}

/* Every shorter file, and every file with one byte changed: nothing is read outside (ASan). */
static void test_broken_files(void)
{
    FILE *file = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    static char bytes[65536];
    size_t len;

    CHECK(file != NULL);
    len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    CHECK(len > 100 && len < sizeof(bytes));
    for (size_t i = 0; i < len; i++) {
        char *copy = malloc(i ? i : 1);
        memcpy(copy, bytes, i);
        CHECK(!zone_parse((struct str){copy, i}));
        free(copy);
    }
    for (size_t i = 0; i < len; i++) {
        char *copy = malloc(len);
        struct zone *zone;

        memcpy(copy, bytes, len);
        copy[i] = (char)~copy[i];
        zone = zone_parse((struct str){copy, len});
        for (int64_t at = -4000000000; zone && at < 8000000000; at += 300000000)
            zone_span(zone, at);
        zone_free(zone);
        free(copy);
    }
}

/* --- lines --- */

static const struct {
    const char *line, *message;
} wrong[] = {
    {"", "\"\": column 1: the minute is missing"},
    {"* * * *", "\"* * * *\": column 8: the day of the week is missing"},
    {"* * * * * *", "\"* * * * * *\": column 11: there are more than five fields"},
    {"60 * * * *", "\"60 * * * *\": column 1: the minute must be 0 to 59, got 60"},
    {"* 24 * * *", "\"* 24 * * *\": column 3: the hour must be 0 to 23, got 24"},
    {"* * 0 * *", "\"* * 0 * *\": column 5: the day of the month must be 1 to 31, got 0"},
    {"* * * 13 *", "\"* * * 13 *\": column 7: the month must be 1 to 12 or jan to dec, got 13"},
    {"* * * foo *", "\"* * * foo *\": column 7: the month must be 1 to 12 or jan to dec, got foo"},
    {"* * * * 8",
     "\"* * * * 8\": column 9: the day of the week must be 0 to 7 or sun to sat, got 8"},
    {"*/0 * * * *",
     "\"*/0 * * * *\": column 3: the step must be a number from 1 to the field's largest"},
    {"*/60 * * * *",
     "\"*/60 * * * *\": column 3: the step must be a number from 1 to the field's largest"},
    {"5-1 * * * *", "\"5-1 * * * *\": column 1: the range goes backward"},
    {"1,,2 * * * *", "\"1,,2 * * * *\": column 3: the minute is missing"},
    {"1- * * * *", "\"1- * * * *\": column 3: the minute is missing"},
    {"5x * * * *", "\"5x * * * *\": column 1: the minute must be 0 to 59, got 5x"},
    {"-5 * * * *", "\"-5 * * * *\": column 1: the minute is missing"},
    {"99999999999 * * * *",
     "\"99999999999 * * * *\": column 1: the minute must be 0 to 59, got 99999999999"},
    {"jan * * * *", "\"jan * * * *\": column 1: the minute must be 0 to 59, got jan"},
    {"0 0 31 2 *", "\"0 0 31 2 *\": column 1: there is no such date"},
    {"0 0 31 4,6,9,11 *", "\"0 0 31 4,6,9,11 *\": column 1: there is no such date"},
    {"@fortnightly",
     "\"@fortnightly\": column 1: expected five fields, or @hourly, @daily, @weekly, "
     "@monthly or @yearly"},
    {"0 0 L * *", "\"0 0 L * *\": column 5: the day of the month must be 1 to 31, got L"},
};

static void test_wrong(void)
{
    for (size_t i = 0; i < LEN(wrong); i++) {
        struct cron cron;
        struct err err;

        CHECK(!cron_parse(str_of(wrong[i].line), &cron, &err));
        CHECK_STR(err.message, wrong[i].message);
        CHECK_STR(err.code, "INVALID_CRON");
    }
}

static int64_t at(const char *text) /* "2026-03-29T02:30:00Z" */
{
    struct tm tm = {0};

    CHECK(strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) != NULL);
    return (int64_t)timegm(&tm);
}

/* What comes after `after`: moments in UTC, separated by spaces. */
static const struct {
    const char *zone, *line, *after, *want;
} schedules[] = {
    {"UTC", "* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z 2026-01-01T00:02:00Z"},
    {"UTC", "* * * * *", "2026-01-01T00:00:59Z", "2026-01-01T00:01:00Z"},
    {"UTC", "*/20 * * * *", "2026-01-01T00:20:00Z",
     "2026-01-01T00:40:00Z 2026-01-01T01:00:00Z 2026-01-01T01:20:00Z"},
    {"UTC", "5/20 3 * * *", "2026-01-01T00:20:00Z",
     "2026-01-01T03:05:00Z 2026-01-01T03:25:00Z 2026-01-01T03:45:00Z 2026-01-02T03:05:00Z"},
    {"UTC", "10-14/2,50 0 * * *", "2026-01-01T00:00:00Z",
     "2026-01-01T00:10:00Z 2026-01-01T00:12:00Z 2026-01-01T00:14:00Z 2026-01-01T00:50:00Z"},
    {"UTC", "0 9 * * MON-fri", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z"},
    {"UTC", "0 9 * * fri-sun", "2026-01-02T09:00:00Z",
     "2026-01-03T09:00:00Z 2026-01-04T09:00:00Z 2026-01-09T09:00:00Z"},
    {"UTC", "0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z 2026-01-11T00:00:00Z"},
    {"UTC", "0 0 * Feb *", "2026-02-28T00:00:00Z", "2027-02-01T00:00:00Z"},
    {"UTC", "0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z 2026-05-31T00:00:00Z"},
    {"UTC", "0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
    {"UTC", "0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
    {"UTC", "0 0 29 2 */7", "2026-01-01T00:00:00Z", "2032-02-29T00:00:00Z 2060-02-29T00:00:00Z"},
    /* either day is enough, unless a field begins with * */
    {"UTC", "0 0 13 * fri", "2026-01-01T00:00:00Z",
     "2026-01-02T00:00:00Z 2026-01-09T00:00:00Z 2026-01-13T00:00:00Z 2026-01-16T00:00:00Z"},
    {"UTC", "0 0 */5 * fri", "2026-01-01T00:00:00Z", "2026-01-16T00:00:00Z 2026-02-06T00:00:00Z"},
    {"UTC", "0 0 13 * *", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z 2026-02-13T00:00:00Z"},
    /* shorthands */
    {"UTC", "@hourly", "2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z"},
    {"UTC", "@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
    {"UTC", "@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
    {"UTC", "@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"},
    {"UTC", "@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
    {"UTC", " \t0\t0  1 1 * ", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
    /* zones */
    {"Asia/Kathmandu", "0 0 * * *", "2026-01-01T00:00:00Z", "2026-01-01T18:15:00Z"},
    {"America/New_York", "30 9 * * mon-fri", "2026-07-03T14:00:00Z", "2026-07-06T13:30:00Z"},
    /* Berlin sets the clocks forward at 01:00Z: 02:30 does not exist on 29 March */
    {"Europe/Berlin", "30 2 * * *", "2026-03-28T00:00:00Z",
     "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
    {"Europe/Berlin", "0,15,30 2 * * *", "2026-03-28T02:00:00Z",
     "2026-03-29T01:00:00Z 2026-03-30T00:00:00Z"},
    {"Europe/Berlin", "30 2,3 * * *", "2026-03-28T03:00:00Z",
     "2026-03-29T01:00:00Z 2026-03-29T01:30:00Z 2026-03-30T00:30:00Z"},
    {"Europe/Berlin", "0 2,3 * * *", "2026-03-28T03:00:00Z",
     "2026-03-29T01:00:00Z 2026-03-30T00:00:00Z"},
    {"Europe/Berlin", "30 2 29 3 *", "2026-01-01T00:00:00Z",
     "2026-03-29T01:00:00Z 2027-03-29T00:30:00Z"},
    {"Europe/Berlin", "30 2 30 3 *", "2026-01-01T00:00:00Z", "2026-03-30T00:30:00Z"},
    /* and back at 01:00Z: 02:30 exists twice on 25 October */
    {"Europe/Berlin", "30 2 * * *", "2026-10-24T02:00:00Z",
     "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
    {"Europe/Berlin", "30 2 * * *", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"},
    {"Europe/Berlin", "0 2,3 * * *", "2026-10-24T23:30:00Z",
     "2026-10-25T00:00:00Z 2026-10-25T02:00:00Z"},
    /* a line for every hour goes on evenly */
    {"Europe/Berlin", "30 * * * *", "2026-03-29T00:00:00Z",
     "2026-03-29T00:30:00Z 2026-03-29T01:30:00Z"},
    {"Europe/Berlin", "*/30 * * * *", "2026-10-25T00:00:00Z",
     "2026-10-25T00:30:00Z 2026-10-25T01:00:00Z 2026-10-25T01:30:00Z 2026-10-25T02:00:00Z"},
    /* half an hour only; a whole day that does not exist; the south */
    {"Australia/Lord_Howe", "15 2 * * *", "2026-10-02T16:00:00Z", "2026-10-03T15:30:00Z"},
    {"Pacific/Apia", "0 12 30 12 *", "2011-01-01T00:00:00Z",
     "2011-12-30T10:00:00Z 2012-12-29T22:00:00Z"},
    {"America/Santiago", "0 0 * * *", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"},
    /* far from the table of the file: by its rule */
    {"Europe/Berlin", "30 2 * * *", "2145-03-27T12:00:00Z", "2145-03-28T01:00:00Z"},
};

static void test_schedules(void)
{
    for (size_t i = 0; i < LEN(schedules); i++) {
        struct zone *zone = load(schedules[i].zone);
        char got[512] = "";
        int64_t time = at(schedules[i].after);
        struct cron cron;
        struct err err;

        CHECK(cron_parse(str_of(schedules[i].line), &cron, &err));
        while (strlen(got) < strlen(schedules[i].want)) {
            char text[32];
            struct tm tm;

            time = cron_next(&cron, zone, time);
            gmtime_r(&(time_t){(time_t)time}, &tm);
            strftime(text, sizeof(text), *got ? " %Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%dT%H:%M:%SZ", &tm);
            strcat(got, text);
        }
        if (strcmp(got, schedules[i].want) != 0)
            fprintf(stderr, "%s in %s:\n", schedules[i].line, schedules[i].zone);
        CHECK_STR(got, schedules[i].want);
        zone_free(zone);
    }
}

/* --- the same, by walking over every minute --- */

/* The largest local time that was seen before `time`, within three days. */
struct walk {
    const struct cron *cron;
    bool every_hour;
    int64_t shown; /* how far the clocks have come */
};

static bool local_fits(const struct cron *cron, int64_t local)
{
    const int64_t day = local / DAY_SECONDS;
    const int64_t minute = local / 60 % 1440;
    const struct civil date = civil_from_days(day);
    const bool by_day = cron->days >> date.day & 1;
    const bool by_week = cron->weekdays >> civil_weekday(day) & 1;

    return cron->minutes >> minute % 60 & 1 && cron->hours >> minute / 60 & 1 &&
           cron->months >> date.month & 1 &&
           (cron->any_day || cron->any_weekday ? by_day && by_week : by_day || by_week);
}

/* Whether it runs at `time`: what the clocks have passed since the minute before, or show now. */
static bool runs_at(struct walk *walk, const struct zone *zone, int64_t time)
{
    const int64_t local = time + zone_span(zone, time).offset;
    bool fits = false;

    if (walk->every_hour)
        return local_fits(walk->cron, local);
    for (int64_t passed = walk->shown + 60; passed <= local; passed += 60)
        fits |= local_fits(walk->cron, passed);
    if (local > walk->shown)
        walk->shown = local;
    return fits;
}

static void walk(const char *name, const char *line, const char *from, const char *to)
{
    struct zone *zone = load(name);
    struct cron cron;
    struct err err;
    const int64_t first = at(from);
    int64_t next = first;

    CHECK(cron_parse(str_of(line), &cron, &err));
    struct walk state = {&cron, cron.hours == 0xFFFFFF, first + zone_span(zone, first).offset};
    next = cron_next(&cron, zone, next);
    for (int64_t time = first + 60; time < at(to); time += 60) {
        const bool runs = runs_at(&state, zone, time);

        if (runs != (time == next)) {
            fprintf(stderr, "%s in %s: at %lld, next is %lld\n", line, name, (long long)time,
                    (long long)next);
            exit(1);
        }
        if (runs)
            next = cron_next(&cron, zone, next);
    }
    zone_free(zone);
}

static void test_walks(void)
{
    static const char *const zones[] = {"Europe/Berlin",       "America/New_York",
                                        "Australia/Lord_Howe", "America/Santiago",
                                        "Africa/Casablanca",   "Asia/Gaza"};
    static const char *const lines[] = {
        "*/7 * * * *",      "15 2 * * *",      "30 */2 * * *",
        "0 0 * * *",        "59 23 1 * 1",     "*/25 1-3 * * *",
        "0 0-22 */2 * 1-5", "5 0,1,2,3 * * 0", "45 1 28-31 3,10,11 *"};

    for (size_t z = 0; z < LEN(zones); z++) {
        for (size_t l = 0; l < LEN(lines); l++)
            walk(zones[z], lines[l], "2026-02-27T00:00:00Z", "2026-11-10T00:00:00Z");
    }
    walk("Pacific/Apia", "0 12 * * *", "2011-12-20T00:00:00Z", "2012-01-10T00:00:00Z");
    walk("Pacific/Apia", "*/45 */3 * * *", "2011-12-20T00:00:00Z", "2012-01-10T00:00:00Z");
}

int main(void)
{
    test_civil();
    test_rules();
    test_zone_names();
    test_zones();
    test_broken_files();
    test_wrong();
    test_schedules();
    test_walks();
    return 0;
}
