#include "base/zone.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/civil.h"
#include "base/mem.h"
#include "base/zone_rule.h"

#define FOLDER "/usr/share/zoneinfo/"

enum {
    FILE_MAX = 1 << 20,
    HEAD_SIZE = 44,
    TYPE_SIZE = 6,
    OFFSET_MAX = 26 * 3600, /* RFC 8536 asks for -25 to 26 hours */
};

/* Changes whose offset is that of the stretch before are left out. */
struct zone {
    size_t len;
    int64_t *times;   /* ascending */
    int64_t *offsets; /* from each time on */
    int64_t first;    /* the offset before */
    bool has_rule;    /* for what comes after the last */
    struct zone_rule rule;
};

void zone_free(struct zone *zone)
{
    if (!zone)
        return;
    free(zone->times);
    free(zone->offsets);
    free(zone);
}

/* --- files --- */

struct head {
    int version;
    size_t utc_flags, wall_flags, leaps, times, types, chars;
};

static uint64_t big_endian(const unsigned char *at, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static int64_t signed_number(const unsigned char *at, size_t size)
{
    return size == 8 ? (int64_t)big_endian(at, 8) : (int32_t)(uint32_t)big_endian(at, 4);
}

static bool read_head(struct str bytes, struct head *head)
{
    const unsigned char *at = (const unsigned char *)bytes.at;

    if (bytes.len < HEAD_SIZE || memcmp(at, "TZif", 4) != 0)
        return false;
    head->version = at[4] == '\0' ? 1 : at[4] - '0';
    head->utc_flags = (size_t)big_endian(at + 20, 4);
    head->wall_flags = (size_t)big_endian(at + 24, 4);
    head->leaps = (size_t)big_endian(at + 28, 4);
    head->times = (size_t)big_endian(at + 32, 4);
    head->types = (size_t)big_endian(at + 36, 4);
    head->chars = (size_t)big_endian(at + 40, 4);
    return head->version >= 1 && head->types >= 1 && head->types <= 256;
}

/* Bytes of the block after the head. The numbers have 32 bits each, so nothing overflows. */
static size_t block_size(const struct head *head, size_t time_size)
{
    return head->times * (time_size + 1) + head->types * TYPE_SIZE + head->chars +
           head->leaps * (time_size + 4) + head->wall_flags + head->utc_flags;
}

static void add_change(struct zone *zone, int64_t at, int64_t offset)
{
    const int64_t before = zone->len > 0 ? zone->offsets[zone->len - 1] : zone->first;

    if (offset == before)
        return;
    zone->times[zone->len] = at;
    zone->offsets[zone->len] = offset;
    zone->len++;
}

/* `at` has the whole block. */
static bool
read_block(struct zone *zone, const unsigned char *at, const struct head *head, size_t time_size)
{
    const unsigned char *indexes = at + head->times * time_size;
    const unsigned char *types = indexes + head->times;

    for (size_t i = 0; i < head->types; i++) {
        const int64_t offset = signed_number(types + i * TYPE_SIZE, 4);
        if (offset < -OFFSET_MAX || offset > OFFSET_MAX)
            return false;
    }
    zone->times = mem_alloc((head->times + 1) * sizeof(*zone->times));
    zone->offsets = mem_alloc((head->times + 1) * sizeof(*zone->offsets));
    zone->first = signed_number(types, 4);
    for (size_t i = 0; i < head->times; i++) {
        const int64_t time = signed_number(at + i * time_size, time_size);
        if (indexes[i] >= head->types)
            return false;
        if (i > 0 && time <= signed_number(at + (i - 1) * time_size, time_size))
            return false;
        add_change(zone, time, signed_number(types + indexes[i] * TYPE_SIZE, 4));
    }
    return true;
}

/* "\nCET-1CEST,M3.5.0,M10.5.0/3\n"; an empty one says that there is no rule. */
static bool read_footer(struct zone *zone, struct str bytes)
{
    const char *end;

    if (bytes.len < 2 || bytes.at[0] != '\n')
        return false;
    end = memchr(bytes.at + 1, '\n', bytes.len - 1);
    if (!end)
        return false;
    zone->has_rule = end > bytes.at + 1;
    return !zone->has_rule ||
           zone_rule_parse((struct str){bytes.at + 1, (size_t)(end - bytes.at) - 1}, &zone->rule);
}

static bool skip(struct str *bytes, size_t len)
{
    if (len > bytes->len)
        return false;
    bytes->at += len;
    bytes->len -= len;
    return true;
}

/* From version 2 on everything is there twice, the second time with 64 bits. */
static bool read_zone(struct zone *zone, struct str bytes)
{
    struct head head;
    size_t time_size = 4;

    if (!read_head(bytes, &head) || !skip(&bytes, HEAD_SIZE))
        return false;
    if (head.version > 1) {
        time_size = 8;
        if (!skip(&bytes, block_size(&head, 4)) || !read_head(bytes, &head) ||
            !skip(&bytes, HEAD_SIZE))
            return false;
    }
    if (block_size(&head, time_size) > bytes.len ||
        !read_block(zone, (const unsigned char *)bytes.at, &head, time_size))
        return false;
    return head.version == 1 ||
           (skip(&bytes, block_size(&head, time_size)) && read_footer(zone, bytes));
}

struct zone *zone_parse(struct str bytes)
{
    struct zone *zone = mem_alloc(sizeof(*zone));

    if (bytes.len <= FILE_MAX && read_zone(zone, bytes))
        return zone;
    zone_free(zone);
    return NULL;
}

struct zone *zone_from_rule(struct str footer)
{
    struct zone *zone = mem_alloc(sizeof(*zone));

    zone->has_rule = true;
    if (zone_rule_parse(footer, &zone->rule)) {
        zone->first = zone->rule.offset;
        return zone;
    }
    zone_free(zone);
    return NULL;
}

static struct zone *read_file(const char *path)
{
    FILE *file = fopen(path, "rbe");
    char *bytes = file ? mem_alloc(FILE_MAX + 1) : NULL;
    const size_t len = file ? fread(bytes, 1, FILE_MAX + 1, file) : 0;
    struct zone *zone = len > 0 ? zone_parse((struct str){bytes, len}) : NULL;

    free(bytes);
    if (file)
        fclose(file);
    return zone;
}

/* Parts of letters, digits, `_`, `-` and `+`: a name never leads out of the folder. */
static bool is_name(const char *name)
{
    if (strlen(name) > 64 || *name == '/' || *name == '\0')
        return false;
    for (const char *at = name; *at; at++) {
        const bool letter = (*at | 32) >= 'a' && (*at | 32) <= 'z';
        if (!letter && !(*at >= '0' && *at <= '9') && !strchr("_-+/", *at))
            return false;
    }
    return true;
}

struct zone *zone_load(const char *name, struct err *err)
{
    char path[sizeof(FOLDER) + 64];
    struct zone *zone = NULL;

    if (strcmp(name, "UTC") == 0)
        return zone_from_rule(STR("UTC0"));
    if (is_name(name)) {
        snprintf(path, sizeof(path), FOLDER "%s", name);
        zone = read_file(path);
    }
    if (!zone)
        err_set(err, "UNKNOWN_TIMEZONE",
                "the time zone \"%.64s\" is not known (expected an IANA name such as "
                "Europe/Berlin; they are in the package tzdata)",
                name);
    return zone;
}

struct zone *zone_local(void)
{
    const char *name = getenv("TZ");
    struct zone *zone = NULL;
    struct err err;

    if (name && *name == ':')
        name++;
    if (name && *name) {
        zone = zone_load(name, &err);
        if (!zone)
            zone = zone_from_rule(str_of(name));
    } else if (!name) {
        zone = read_file("/etc/localtime");
    }
    return zone ? zone : zone_from_rule(STR("UTC0"));
}

/* --- spans --- */

/* After the table, by the rule: the changes of the years around. */
static struct zone_span rule_span(const struct zone *zone, int64_t at, int64_t start)
{
    const struct zone_rule *rule = &zone->rule;
    const int64_t year = civil_from_days(at / DAY_SECONDS - (at % DAY_SECONDS < 0)).year;
    struct zone_span span = {start, INT64_MAX, rule->offset};
    int64_t latest = INT64_MIN;

    if (!rule->has_summer || rule->summer_offset == rule->offset)
        return span;
    for (int64_t y = year - 1; y <= year + 1; y++) {
        const struct {
            int64_t at, offset;
        } changes[] = {{zone_rule_begin(rule, y), rule->summer_offset},
                       {zone_rule_end(rule, y), rule->offset}};

        for (size_t i = 0; i < 2; i++) {
            if (changes[i].at <= at && changes[i].at >= latest) {
                latest = changes[i].at;
                span.offset = changes[i].offset;
            } else if (changes[i].at > at && changes[i].at < span.end) {
                span.end = changes[i].at;
            }
        }
    }
    if (latest > start)
        span.start = latest;
    return span;
}

static struct zone_span tail_span(const struct zone *zone, int64_t at)
{
    const int64_t start = zone->len > 0 ? zone->times[zone->len - 1] : INT64_MIN;
    const int64_t offset = zone->len > 0 ? zone->offsets[zone->len - 1] : zone->first;

    if (zone->has_rule)
        return rule_span(zone, at, start);
    return (struct zone_span){start, INT64_MAX, offset};
}

struct zone_span zone_span(const struct zone *zone, int64_t at)
{
    size_t low = 0, high = zone->len; /* the first change after `at` is in low..high */

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (zone->times[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == zone->len)
        return tail_span(zone, at);
    return (struct zone_span){low > 0 ? zone->times[low - 1] : INT64_MIN, zone->times[low],
                              low > 0 ? zone->offsets[low - 1] : zone->first};
}
