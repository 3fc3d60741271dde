/* Redis over hiredis, without blocking: one connection that all commands share, one that is
 * subscribed, and for commands that block one each.
 *
 * A request is one command or several that go together (a pipeline). Commands of all requests go
 * out in the order in which they were submitted, without waiting for each other's replies. A
 * connection that is lost is made again when there is need; what was on its way fails, for nobody
 * knows whether it was done.
 *
 * The caller owns a request until it is submitted, and again in `done`, which is called exactly
 * once; never from inside redis_submit(), and from inside redis_cancel() and redis_close() only for
 * requests that were cancelled, whose `done` must not call anything here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct loop;
struct redis;
struct redis_conn;

/* CONNECTION_FAILED, CONNECTION_LOST, TIMEOUT, QUEUE_FULL, RESULT_TOO_LARGE, CLOSED; for a
 * subscription also the first word of what the server said.
 */
struct redis_error {
    char code[32];
    char message[512];
};

struct redis_request {
    struct buf commands; /* redis_put_command(); freed by redis_request_fini(), like the replies */
    unsigned count;      /* of commands, more than 0 */
    bool blocks;         /* wants a connection of its own, and has all the time in the world */
    bool cancelled;      /* nobody wants the outcome */
    void (*done)(struct redis_request *request);

    bool ok;            /* there are replies, errors among them maybe; else `error` says why not */
    struct buf replies; /* `count` of them, as redis_put() */
    struct redis_error error;

    /* redis*.c's own */
    struct redis *redis;
    struct redis_request *next;
    struct redis_conn *conn; /* that it is on its way on */
    unsigned got;            /* replies so far */
    size_t size;             /* of the commands */
    uint64_t deadline_ms;
    bool failed;
};

void redis_request_fini(struct redis_request *request);

struct redis_options {
    const char *url;     /* redis://user:password@host:port/number, or unix:///path */
    uint64_t timeout_ms; /* of a command that does not block, from submit to reply */
    uint64_t connect_timeout_ms;
    unsigned queue; /* most requests that wait or are on their way */
};

/* Connects to nothing yet; fails for a URL that is none. All options are copied. */
struct redis *redis_open(struct loop *loop, const struct redis_options *options, struct err *err);
void redis_close(struct redis *redis); /* what waits or is on its way fails with CLOSED */

const char *redis_label(const struct redis *redis); /* "host:port/number"; no password */
unsigned redis_number(const struct redis *redis);   /* of its database */

/* The last command that came to an end got no answer: nobody there, or nobody who speaks. */
bool redis_away(const struct redis *redis);

void redis_submit(struct redis *redis, struct redis_request *request);

/* A command that is on its way is done all the same, but for one that blocks. */
void redis_cancel(struct redis_request *request);

/* One who is subscribed to a channel, or to those that a pattern fits. The caller's, until
 * redis_unsubscribe() or redis_close(). The functions may call nothing here.
 */
struct redis_subscriber {
    struct str name;
    bool pattern;
    void (*settled)(struct redis_subscriber *subscriber, const struct redis_error *error);
    void (*heard)(struct redis_subscriber *subscriber, struct str channel, struct str message);
    void (*restored)(struct redis_subscriber *subscriber); /* messages may have been missed */

    struct redis *redis;
    struct redis_subscriber *next;
    enum { SUBSCRIBER_ASKED, SUBSCRIBER_SENT, SUBSCRIBER_ACTIVE } state;
    uint64_t order; /* in which it was sent */
    bool told;      /* `settled` was called */
};

/* `settled` tells whether the server could be asked. From then on a lost connection is made anew.
 * When it says no, the subscriber is the caller's again.
 */
void redis_subscribe(struct redis *redis, struct redis_subscriber *subscriber);
void redis_unsubscribe(struct redis_subscriber *subscriber);
