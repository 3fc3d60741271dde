/* What the process knows of its schedules, one record each: which time was run last, so that it is
 * run by one instance of a plugin only, and how it went.
 *
 * A record outlives the jobs that hold it, and with them the instances of the plugin: the book owns
 * it. Single-threaded, belongs to the loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CRON_NEVER INT64_MIN

struct cron_book;
struct cron_lease;
struct cron_locks;

struct cron_record {
    char *key;
    unsigned refs, running;
    int64_t armed;   /* the time that is waited for, in seconds since 1970 */
    int64_t claimed; /* the last one that somebody took upon himself */
    int64_t last_ms; /* when the last run began, since 1970 */
    int64_t took_ms;
    uint64_t runs, failures, skipped;
    uint64_t elsewhere;       /* times that another replica ran */
    struct cron_lease *lease; /* while it runs, when replicas agree on who does; else NULL */
    char error[256];          /* of the last run; "" when it went well */
    struct cron_record *next;
};

struct cron_book *cron_book_new(void);
void cron_book_free(struct cron_book *book);

/* By which replicas agree on who runs a time; NULL: there is one server. Borrowed. */
void cron_book_share(struct cron_book *book, struct cron_locks *locks);
struct cron_locks *cron_book_locks(const struct cron_book *book);

/* The record of `key`, found or made. It stays as it is until as many calls of drop. */
struct cron_record *cron_book_take(struct cron_book *book, const char *key);
void cron_book_drop(struct cron_record *record);
