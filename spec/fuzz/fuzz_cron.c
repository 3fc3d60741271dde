/* A line and the file of a time zone, with a NUL between them: nothing is read outside, and times
 * come in order and fit the line.
 */
#include "fuzz.h"

#include "base/cron.h"
#include "base/zone.h"

/* A copy no longer than the text: ASan sees an overrun. */
static char *copy(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1);

    require(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    return bytes;
}

static void check_spans(const struct zone *zone)
{
    for (int64_t at = -5000000000; at < 10000000000; at += 77777777) {
        const struct zone_span span = zone_span(zone, at);
        require(span.start <= at && at < span.end);
    }
}

static void check_times(const struct cron *cron, const struct zone *zone)
{
    int64_t at = 1767225600;

    for (int i = 0; i < 20; i++) {
        const int64_t next = cron_next(cron, zone, at);
        require(next > at);
        at = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\0', size) : NULL;
    const size_t len = end ? (size_t)(end - data) : size, left = end ? size - len - 1 : 0;
    char *line = copy(data, len), *bytes = copy(end ? end + 1 : data, left);
    struct zone *zone = zone_parse((struct str){bytes, left});
    struct cron cron;
    struct err err;

    if (!zone)
        zone = zone_from_rule((struct str){bytes, left});
    if (!zone)
        zone = zone_from_rule(STR("CET-1CEST,M3.5.0,M10.5.0/3"));
    check_spans(zone);
    if (cron_parse((struct str){line, len}, &cron, &err))
        check_times(&cron, zone);
    zone_free(zone);
    free(line);
    free(bytes);
    return 0;
}
