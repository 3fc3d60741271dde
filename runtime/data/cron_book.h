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

struct cron_record {
    char *key;
    unsigned refs, running;
    int64_t armed;   /* the time that is waited for, in seconds since 1970 */
    int64_t claimed; /* the last one that somebody took upon himself */
    int64_t last_ms; /* when the last run began, since 1970 */
    int64_t took_ms;
    uint64_t runs, failures, skipped;
    char error[256]; /* of the last run; "" when it went well */
    struct cron_record *next;
};

struct cron_book *cron_book_new(void);
void cron_book_free(struct cron_book *book);

/* The record of `key`, found or made. It stays as it is until as many calls of drop. */
struct cron_record *cron_book_take(struct cron_book *book, const char *key);
void cron_book_drop(struct cron_record *record);
