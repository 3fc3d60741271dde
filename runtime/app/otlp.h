/* Spans of requests to an OpenTelemetry collector: OTLP over HTTP with JSON
 * (https://opentelemetry.io/docs/specs/otlp/), in batches.
 *
 * Never in a request's way: what cannot be sent in time is dropped and counted. A batch leaves
 * every five seconds or when 512 spans are there, one at a time.
 */
#pragma once

#include <stdint.h>

#include "base/str.h"

struct loop;
struct otlp;
struct settings;
struct trace;

struct otlp_span {
    const struct trace *trace;
    struct str method, path;
    const char *plugin, *route; /* "" when nothing answered */
    const char *request_id;
    unsigned status;
    uint64_t ns; /* how long it took, until now */
};

struct otlp_counts {
    uint64_t sent, dropped;
};

/* NULL unless the settings name a collector. */
struct otlp *otlp_new(struct loop *loop, const struct settings *settings);
void otlp_free(struct otlp *otlp); /* NULL is fine; what was not sent is lost */

void otlp_add(struct otlp *otlp, const struct otlp_span *span);

/* Sends what is there without waiting for more. */
void otlp_flush(struct otlp *otlp);
struct otlp_counts otlp_counts(const struct otlp *otlp);
