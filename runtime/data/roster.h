/* The replicas that are there: each says so every few seconds, and when it goes; who has not been
 * heard for a while is gone. While nothing is heard at all, its own words neither, nobody is
 * counted out: then it is not known who is there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "data/bus.h"

struct loop;
struct roster;

enum {
    ROSTER_BEAT_MS = 3000,
    ROSTER_GONE_MS = 10000,
    ROSTER_MAX = 256, /* others; more are not listed */
    ROSTER_VERSION_MAX = 32,
};

/* Another replica. Borrowed until the loop goes on. */
struct roster_entry {
    char id[BUS_ID_MAX];
    char version[ROSTER_VERSION_MAX];
    int64_t since_ms;  /* when it started, since 1970 */
    uint64_t heard_ms; /* monotonic */
    struct roster_entry *next;
};

/* `gone` is told that `id` has left or is not heard any more. */
struct roster_options {
    struct loop *loop;
    struct bus *bus; /* borrowed until roster_free() */
    const char *version;
    void *app;
    void (*joined)(void *app, const char *id);
    void (*gone)(void *app, const char *id, bool said_so);
};

struct roster *roster_new(const struct roster_options *options);
void roster_free(struct roster *roster); /* before the bus; NULL is fine */

void roster_start(struct roster *roster); /* says hello from now on */
void roster_leave(struct roster *roster); /* says goodbye, and nothing more */

int64_t roster_since_ms(const struct roster *roster);                 /* its own */
const struct roster_entry *roster_first(const struct roster *roster); /* in the order they came */
const struct roster_entry *roster_find(const struct roster *roster, struct str id);
