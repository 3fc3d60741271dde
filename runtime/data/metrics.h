/* What is counted of requests: one series for each plugin, method and route, over the life of the
 * process, so that a counter never goes back when a plugin is reloaded or removed.
 *
 * Owns the series; they stay until metrics_free(), so whoever answers may keep a pointer. Bounded:
 * of more routes than fit the rest share one series. Single-threaded, belongs to the loop's thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf;
struct metrics;
struct metric_route;

enum { METRIC_ROUTES_MAX = 5000 };

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/* Found or made. `method` "" is any. Text is copied. */
struct metric_route *
metrics_route(struct metrics *metrics, const char *plugin, struct str method, struct str route);

/* A response with this status after so many nanoseconds. */
void metric_count(struct metric_route *route, unsigned status, uint64_t ns);

/* The names it was made with. */
const char *metric_plugin(const struct metric_route *route);
const char *metric_pattern(const struct metric_route *route);

/* The series of all requests in Prometheus' text format 0.0.4. */
void metrics_write(const struct metrics *metrics, struct buf *out);

/* --- for the other series of a page --- */

/* "# HELP" and "# TYPE". */
void metric_family(struct buf *out, const char *name, const char *type, const char *help);

/* One line; `labels` are pairs of name and value and end with NULL, or are NULL themselves. */
void metric_value(struct buf *out, const char *name, const char *const *labels, double value);
