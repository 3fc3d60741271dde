/* One schedule of a VM: it waits, runs and is on the ledger as kind "cron", until it is stopped.
 *
 * The instance that follows in a reload is built beside the one that lives, and its job waits until
 * it is live itself: a time belongs to whoever claims it first in the record that both share, so
 * none is run twice or left out. Private to bind/.
 */
#pragma once

#include <stdbool.h>

#include "base/cron.h"
#include "bind/cron.h"

struct cron_book;
struct cron_job;
struct handle;
struct vm;
struct zone;

struct cron_job_options {
    struct vm *vm;
    struct cron_book *book;
    struct cron cron;
    struct zone *zone;    /* taken over */
    int function;         /* reference in the VM's registry, taken over */
    const char *line;     /* the texts are copied */
    const char *name;     /* NULL: it is called by its place */
    const char *place;    /* "plugin.lua:12" */
    const char *timezone; /* NULL: the machine's */
    double jitter;        /* seconds */
    bool overlap;
};

struct cron_job *cron_job_start(const struct cron_job_options *options);
void cron_job_stop(struct cron_job *job); /* a run that has begun goes on */

void cron_job_status(const struct cron_job *job, struct cron_status *status);

/* For handle_link(): severed when the job is stopped. */
struct handle **cron_job_handle(struct cron_job *job);
