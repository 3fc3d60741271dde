/* W3C Trace Context (https://www.w3.org/TR/trace-context/): the traceparent header, pure.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum { TRACE_TEXT = 56 };

struct random_pool;

struct trace {
    char id[33];     /* of the whole trace, hex */
    char parent[17]; /* the caller's span; "" when the trace began here */
    char span[17];   /* ours */
    bool sampled;
    char text[TRACE_TEXT]; /* the traceparent that goes on: with our span */
};

/* Joins the caller's trace with a span of ours. False, and nothing is set: not a traceparent. */
bool trace_join(struct trace *trace, struct str traceparent, struct random_pool *pool);

/* Begins a trace of our own. */
void trace_begin(struct trace *trace, struct random_pool *pool);
