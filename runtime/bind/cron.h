/* Schedules, for the control plane. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct resource;

struct cron_status {
    const char *name, *line, *timezone; /* borrowed; timezone NULL: the machine's */
    double next;                        /* seconds since 1970, like `last` */
    bool running, has_run;
    uint64_t runs, failures, skipped, elsewhere;
    double last, seconds; /* when the last run began, how long it took; only if `has_run` */
    const char *error;    /* how it failed; "" when it did not */
};

/* What is known of a resource on a ledger, if it is a schedule (kind "cron"). */
bool cron_status(const struct resource *resource, struct cron_status *status);
