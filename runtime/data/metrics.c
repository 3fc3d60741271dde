#include "data/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* Upper bounds of the histogram, in nanoseconds and as the page says them. */
static const struct {
    uint64_t ns;
    const char *text;
} bounds[] = {
    {250000, "0.00025"}, {500000, "0.0005"},  {1000000, "0.001"},  {2500000, "0.0025"},
    {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"}, {50000000, "0.05"},
    {100000000, "0.1"},  {250000000, "0.25"}, {500000000, "0.5"},  {1000000000, "1"},
    {2500000000, "2.5"}, {5000000000, "5"},   {10000000000, "10"},
};

enum { BOUNDS = sizeof(bounds) / sizeof(bounds[0]), TABLE_SIZE = 8192, STATUSES = 8 };

struct metric_route {
    struct metric_route *chain; /* of its bucket of the table */
    struct metric_route *next;  /* in the order they were made */
    char *plugin, *method, *route;
    char *labels;                /* the three as the page says them, without braces */
    uint64_t slower[BOUNDS + 1]; /* how many took up to bounds[i]; the last: longer */
    uint64_t sum_ns;
    struct {
        unsigned status;
        uint64_t count;
    } statuses[STATUSES]; /* those seen first; more share the last, whose status is then 0 */
};

struct metrics {
    struct metric_route *table[TABLE_SIZE];
    struct metric_route *first, *last;
    size_t len;
    struct metric_route *rest; /* of the routes that were too many; NULL until there are any */
};

struct metrics *metrics_new(void)
{
    return mem_alloc(sizeof(struct metrics));
}

void metrics_free(struct metrics *metrics)
{
    struct metric_route *route, *next;

    for (route = metrics ? metrics->first : NULL; route; route = next) {
        next = route->next;
        free(route->plugin);
        free(route->method);
        free(route->route);
        free(route->labels);
        free(route);
    }
    free(metrics);
}

static size_t hash(const char *plugin, struct str method, struct str route)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a: names are those of the plugins, not a client's */

    for (const char *p = plugin; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    for (size_t i = 0; i < method.len; i++)
        h = (h ^ (unsigned char)method.at[i]) * 1099511628211u;
    for (size_t i = 0; i < route.len; i++)
        h = (h ^ (unsigned char)route.at[i]) * 1099511628211u;
    return h % TABLE_SIZE;
}

/* Backslash, quote and newline, as the format has it. */
static void add_escaped(struct buf *out, const char *value)
{
    for (const char *p = value; *p; p++) {
        if (*p == '\\' || *p == '"')
            buf_putc(out, '\\');
        if (*p == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, *p);
    }
}

static char *make_labels(const struct metric_route *route)
{
    struct buf text = {0};

    buf_puts(&text, "plugin=\"");
    add_escaped(&text, route->plugin);
    buf_puts(&text, "\",method=\"");
    add_escaped(&text, route->method);
    buf_puts(&text, "\",route=\"");
    add_escaped(&text, route->route);
    buf_putc(&text, '"');
    return text.data;
}

static struct metric_route *
add_route(struct metrics *m, const char *plugin, struct str method, struct str name)
{
    struct metric_route *route = mem_alloc(sizeof(*route));

    route->plugin = mem_copy(plugin);
    route->method = mem_copy_n(method.at, method.len);
    route->route = mem_copy_n(name.at, name.len);
    route->labels = make_labels(route);
    if (m->last)
        m->last->next = route;
    else
        m->first = route;
    m->last = route;
    m->len++;
    return route;
}

struct metric_route *
metrics_route(struct metrics *m, const char *plugin, struct str method, struct str name)
{
    struct metric_route **bucket = &m->table[hash(plugin, method, name)];

    for (struct metric_route *route = *bucket; route; route = route->chain) {
        if (strcmp(route->plugin, plugin) == 0 && str_equal(str_of(route->method), method) &&
            str_equal(str_of(route->route), name))
            return route;
    }
    if (m->len >= METRIC_ROUTES_MAX) {
        if (!m->rest)
            m->rest = add_route(m, "(others)", STR(""), STR("(others)"));
        return m->rest;
    }
    struct metric_route *route = add_route(m, plugin, method, name);
    route->chain = *bucket;
    *bucket = route;
    return route;
}

const char *metric_plugin(const struct metric_route *route)
{
    return route->plugin;
}

const char *metric_pattern(const struct metric_route *route)
{
    return route->route;
}

void metric_count(struct metric_route *route, unsigned status, uint64_t ns)
{
    size_t i = 0;

    while (i < BOUNDS && ns > bounds[i].ns)
        i++;
    route->slower[i]++;
    route->sum_ns += ns;
    for (i = 0; i < STATUSES - 1; i++) {
        if (route->statuses[i].status == status)
            break;
        if (route->statuses[i].status == 0) {
            route->statuses[i].status = status;
            break;
        }
    }
    route->statuses[i].count++;
}

/* --- the page --- */

void metric_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_count(struct buf *out, uint64_t count)
{
    char digits[24], *p = digits + sizeof(digits);

    do
        *--p = (char)('0' + count % 10);
    while ((count /= 10) > 0);
    buf_add(out, p, (size_t)(digits + sizeof(digits) - p));
}

static void add_number(struct buf *out, double value)
{
    buf_putc(out, ' ');
    if (value >= 0 && value < 1e15 && value <= floor(value))
        add_count(out, (uint64_t)value);
    else
        buf_printf(out, "%.12g", value);
    buf_putc(out, '\n');
}

void metric_value(struct buf *out, const char *name, const char *const *labels, double value)
{
    char before = '{';

    buf_puts(out, name);
    for (; labels && labels[0]; labels += 2) {
        buf_putc(out, before);
        buf_puts(out, labels[0]);
        buf_puts(out, "=\"");
        add_escaped(out, labels[1]);
        buf_putc(out, '"');
        before = ',';
    }
    if (before == ',')
        buf_putc(out, '}');
    add_number(out, value);
}

/* "name{labels,more" */
static void open_line(struct buf *out, struct str name, const struct metric_route *route)
{
    buf_add_str(out, name);
    buf_putc(out, '{');
    buf_puts(out, route->labels);
}

static void close_line(struct buf *out, uint64_t count)
{
    buf_add_str(out, STR("} "));
    add_count(out, count);
    buf_putc(out, '\n');
}

static void write_counts(struct buf *out, const struct metric_route *route)
{
    for (size_t i = 0; i < STATUSES && route->statuses[i].count; i++) {
        open_line(out, STR("buntime_http_requests_total"), route);
        buf_add_str(out, STR(",status=\""));
        if (route->statuses[i].status)
            add_count(out, route->statuses[i].status);
        else
            buf_add_str(out, STR("other"));
        buf_putc(out, '"');
        close_line(out, route->statuses[i].count);
    }
}

static void write_histogram(struct buf *out, const struct metric_route *route)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= BOUNDS; i++) {
        count += route->slower[i];
        open_line(out, STR("buntime_http_request_duration_seconds_bucket"), route);
        buf_add_str(out, STR(",le=\""));
        buf_puts(out, i < BOUNDS ? bounds[i].text : "+Inf");
        buf_putc(out, '"');
        close_line(out, count);
    }
    open_line(out, STR("buntime_http_request_duration_seconds_sum"), route);
    buf_printf(out, "} %.9g\n", (double)route->sum_ns / 1e9);
    open_line(out, STR("buntime_http_request_duration_seconds_count"), route);
    close_line(out, count);
}

void metrics_write(const struct metrics *m, struct buf *out)
{
    metric_family(out, "buntime_http_requests_total", "counter",
                  "Requests answered, by plugin, route and status (499: the client went first).");
    for (const struct metric_route *route = m->first; route; route = route->next)
        write_counts(out, route);
    metric_family(out, "buntime_http_request_duration_seconds", "histogram",
                  "Time until the response's head was handed over.");
    for (const struct metric_route *route = m->first; route; route = route->next) {
        if (route->statuses[0].count > 0)
            write_histogram(out, route);
    }
}
