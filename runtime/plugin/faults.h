/* The last errors of one plugin, newest first; equal ones are counted, not repeated.
 * The caller owns the struct; `{0}` is an empty list.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { FAULTS_MAX = 50 };

struct fault {
    char *code, *message, *file, *traceback, *request_id, *phase; /* request_id may be NULL */
    unsigned line;
    uint64_t count;
    double first, last; /* seconds since the epoch */
};

struct faults {
    struct fault items[FAULTS_MAX];
    size_t len;
    uint64_t total;
};

/* `phase` says what was running: "request", "onRequest", "onInit", … */
void faults_add(struct faults *faults,
                const struct err *err,
                const char *phase,
                const char *request_id);
void faults_fini(struct faults *faults);
