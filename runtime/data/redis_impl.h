/* What redis*.c share. Not for other folders.
 *
 * As with PostgreSQL: `done` of a request that somebody waits for is only called by redis_tell(),
 * which the handlers of the loop's events call last, when no connection is in their hands any more.
 */
#pragma once

#include <hiredis/hiredis.h>

#include "data/redis.h"
#include "data/redis_value.h"
#include "data/resolve.h"
#include "ev/loop.h"
#include "ev/poll.h"

enum {
    REDIS_RESULT_MAX = 64 << 20,   /* bytes of replies of a request */
    REDIS_PENDING_MAX = 256 << 20, /* bytes of commands without a reply */
    REDIS_BLOCKING_MAX = 100,      /* connections of commands that block */
    REDIS_IDLE_MS = 10000,         /* how long one of those is kept for the next */
    REDIS_PING_TIMES = 3, /* the time-out: how often a subscribed connection shows that it lives */
    REDIS_BACKOFF_FIRST_MS = 50,
    REDIS_BACKOFF_MOST_MS = 2000,
};

enum redis_role { ROLE_SHARED, ROLE_BLOCKING, ROLE_SUBSCRIBED };
enum redis_state { REDIS_RESOLVING, REDIS_CONNECTING, REDIS_GREETING, REDIS_READY };

struct redis_queue {
    struct redis_request *first, **last;
};

struct redis_conn {
    struct poll poll;   /* first: ready() casts back */
    struct timer timer; /* connecting for too long, the first reply, idle, ping */
    struct resolve resolve;
    struct redis *redis;
    struct redis_conn *next;
    redisContext *context; /* NULL: not connecting yet */
    enum redis_role role;
    enum redis_state state;
    unsigned address;          /* which of those found is tried */
    unsigned greetings;        /* replies to wait for */
    bool lost;                 /* freed by redis_sweep() */
    bool resolving;            /* on the thread pool; kept until then */
    bool unsent;               /* something is to be written */
    bool quiet;                /* subscribed: nothing was heard since the last ping */
    unsigned events;           /* that are watched for */
    struct redis_queue on_way; /* in the order of their replies */
    struct buf incoming;       /* a reply that is no request's */
    struct buf *target;        /* where the reply goes that is being read */
};

struct redis_server {
    char *host; /* or the path of a socket */
    bool local;
    unsigned port, number;
    char *user, *password; /* or NULL */
};

struct redis {
    struct loop *loop;
    struct redis_server server;
    struct redis_options limits;
    char label[192];

    struct redis_conn *conns, *shared, *subscribed;
    unsigned blocking;          /* connections */
    struct redis_queue waiting; /* for the shared one */
    struct redis_queue finished;
    unsigned pending; /* requests without their replies, and the bytes of their commands */
    size_t pending_bytes;
    struct timer overdue; /* the first of `waiting` */
    struct timer again;   /* connects for those that wait */
    uint64_t again_ms;    /* not before */
    unsigned backoff_ms;
    struct post tell;

    struct redis_subscriber *subscribers;
    struct timer subscribe_again;
    unsigned subscribe_backoff_ms;
    uint64_t last_order;

    unsigned pins; /* kept by jobs and by redis_tell() */
    bool closed;
    bool away; /* redis_away() */
};

/* --- redis.c --- */
void redis_queue_init(struct redis_queue *q);
void redis_queue_add(struct redis_queue *q, struct redis_request *r);
struct redis_request *redis_queue_take(struct redis_queue *q);

/* Puts it among those that redis_tell() tells. */
void redis_finish(struct redis_request *r);
void redis_fail(struct redis_request *r, const char *code, const char *message);
void redis_fail_waiting(struct redis *redis, const char *code, const char *message);
void redis_tell(struct redis *redis); /* may free it */
void redis_unpin(struct redis *redis);
unsigned redis_backoff(unsigned before_ms);

/* --- redis_url.c --- */
bool redis_server_parse(struct redis_server *server, const char *url, struct err *err);
void redis_server_fini(struct redis_server *server);

/* --- redis_connection.c --- */
struct redis_conn *redis_conn_new(struct redis *redis, enum redis_role role);
void redis_conn_connect(struct redis_conn *c); /* may lose it */
void redis_conn_lose(struct redis_conn *c, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void redis_connect_failed(struct redis_conn *c, const char *message);
void redis_conn_ready(struct redis_conn *c); /* it has greeted */
void redis_conn_send(struct redis_conn *c,
                     const struct buf *commands); /* redis_tell() writes them */
void redis_conn_run(struct redis_conn *c, struct redis_request *r);
void redis_conn_rest(struct redis_conn *c); /* after replies: sets the timer anew */
void redis_sweep(struct redis *redis);

/* --- redis_io.c --- */
void redis_use_reader(struct redis_conn *c);
void redis_write(struct redis_conn *c);
void redis_read(struct redis_conn *c);
void redis_watch(struct redis_conn *c, unsigned events);

/* --- redis_subscribe.c --- */
void redis_subscribe_all(struct redis_conn *c); /* what has not been asked for yet */
void redis_subscribed_heard(struct redis_conn *c);
void redis_subscribed_lost(struct redis *redis, const char *code, const char *message);
void redis_subscribers_close(struct redis *redis);
