/* Which replica runs a time of a schedule, as their Redis knows it.
 *
 * For each schedule it keeps the last time that somebody took upon himself, so a replica that comes
 * late is not given an old one, and, while a run goes on, a lease of whoever runs it, which ends by
 * itself when he is gone. A replica that asks twice gets the same answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cron_claim;
struct cron_lease;
struct cron_locks;
struct loop;
struct redis;

enum { CRON_LEASE_MS = 15000 };

struct cron_locks_options {
    struct loop *loop;
    struct redis *redis; /* borrowed until cron_locks_free() */
    const char *replica; /* copied */
};

struct cron_locks *cron_locks_new(const struct cron_locks_options *options);
/* When there are neither claims nor leases any more; NULL is fine. */
void cron_locks_free(struct cron_locks *locks);

enum cron_verdict {
    CRON_MINE,    /* run it */
    CRON_TAKEN,   /* another replica does, or has */
    CRON_BUSY,    /* the run before goes on, at another replica */
    CRON_UNKNOWN, /* Redis did not say */
};

/* `problem` is told with CRON_UNKNOWN, borrowed. */
typedef void cron_claimed(void *arg, enum cron_verdict verdict, const char *problem);

struct cron_time {
    const char *key; /* of the schedule, the same at all replicas; copied */
    int64_t due;     /* in seconds since 1970 */
    bool overlap;    /* it may run while the run before goes on: no lease */
};

/* `done` is called once, on a later turn of the loop, unless the claim is cancelled. */
struct cron_claim *cron_claim_start(struct cron_locks *locks,
                                    const struct cron_time *time,
                                    cron_claimed *done,
                                    void *arg);
void cron_claim_cancel(struct cron_claim *claim);

/* Keeps the lease that came with CRON_MINE, until the run has ended. */
struct cron_lease *cron_lease_keep(struct cron_locks *locks, const char *key);
void cron_lease_end(struct cron_lease *lease);
