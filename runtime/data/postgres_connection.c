/* The life of a connection: host names, connecting, its settings, and its end. */
#include "data/postgres_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { GROW_AGAIN_MS = 250 };

/* --- watching --- */

static void set_events(struct pg_conn *c, unsigned events)
{
    struct err err;

    if (c->events == events)
        return;
    c->events = events;
    if (events == 0)
        poll_stop(&c->poll);
    else if (!poll_start(c->pool->loop, &c->poll, pq.socket(c->pg), events, &err))
        pg_conn_lose(c, "CONNECTION_LOST", "%s", err.message);
}

void pg_conn_watch(struct pg_conn *c)
{
    /* A failure shows again when it is read from. */
    set_events(c, POLL_READ | (pq.flush(c->pg) > 0 ? POLL_WRITE : 0u));
}

/* --- the end --- */

/* What the server said before it hung up is the reason, but the loss is what matters. */
static void fail_running(struct postgres_request *r, const char *code, const char *message)
{
    pg_fail(r, code, "%s", message); /* no-op if it has failed */
    if (strncmp(r->error.code, "57P", 3) == 0)
        snprintf(r->error.code, sizeof(r->error.code), "CONNECTION_LOST");
    pg_finish(r);
}

static void fail_requests(struct pg_conn *c, const char *code, const char *message)
{
    struct postgres_request *r = c->request;

    c->request = NULL;
    if (r)
        fail_running(r, code, message);
    while ((r = pg_queue_take(&c->held)))
        fail_running(r, code, message);
}

void pg_conn_lose(struct pg_conn *c, const char *code, const char *fmt, ...)
{
    struct postgres *pool = c->pool;
    char message[512];
    va_list args;

    if (c->lost)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    message[strcspn(message, "\n")] = '\0';

    c->lost = true;
    poll_stop(&c->poll);
    timer_stop(&c->timer);
    pg_cancel_forget(c);
    pq.finish(c->pg);
    c->pg = NULL;
    if (!c->listens)
        pool->open--;
    if (!c->listens && c->state < PG_IDLE)
        pool->connecting--;
    fail_requests(c, code, message);
    if (c->listens) {
        pool->listening = NULL;
        pg_listen_lost(pool, code, message);
    }
}

void pg_sweep(struct postgres *pool)
{
    struct pg_conn **slot = &pool->conns;

    while (*slot) {
        struct pg_conn *c = *slot;

        if (!c->lost || c->resolving) {
            slot = &c->next;
            continue;
        }
        *slot = c->next;
        pg_statements_free(c);
        free(c);
    }
}

/* Requests are not told while other connections could still take them. */
void pg_connect_failed(struct pg_conn *c, const char *message)
{
    struct postgres *pool = c->pool;
    struct postgres_request *r;
    char text[512];

    snprintf(text, sizeof(text), "cannot connect to %s: %.*s", pool->label,
             (int)strcspn(message, "\n"), message);
    pg_conn_lose(c, "CONNECTION_FAILED", "%s", text);
    if (c->listens)
        return;
    if (pool->open > 0) {
        pool->grow_after_ms = loop_now_ms(pool->loop) + GROW_AGAIN_MS;
        timer_start(pool->loop, &pool->grow, GROW_AGAIN_MS);
        return;
    }
    while ((r = pg_queue_take(&pool->waiting))) {
        pg_fail(r, "CONNECTION_FAILED", "%s", text);
        pg_finish(r);
    }
}

static void describe_silence(char *text, size_t size, uint64_t ms)
{
    snprintf(text, size, "no answer within %g s", (double)ms / 1000);
}

static void expired(struct timer *timer)
{
    struct pg_conn *c = (struct pg_conn *)((char *)timer - offsetof(struct pg_conn, timer));
    struct postgres *pool = c->pool;
    char text[64];

    if (c->state < PG_IDLE) {
        describe_silence(text, sizeof(text), pool->limits.connect_timeout_ms);
        pg_connect_failed(c, text);
    } else if (c->state == PG_IDLE) {
        pg_conn_lose(c, "CONNECTION_LOST", "the connection was idle");
    } else {
        pg_conn_lose(c, "CONNECTION_LOST", "the server does not answer");
    }
    pg_tell(pool);
}

/* --- connecting --- */

/* In the order they are sent; the first is not known to all servers. What is read here is written
 * in postgres_value.c's way.
 */
static bool setup_text(const struct pg_conn *c, char *text, size_t size)
{
    static const char settings[] =
        "set datestyle = iso; set timezone = 'UTC'; set bytea_output = hex;"
        " set extra_float_digits = 3; set standard_conforming_strings = on";
    const uint64_t limit = c->pool->limits.statement_timeout_ms;

    if (c->setup == 0)
        snprintf(text, size, "set client_connection_check_interval = 2000");
    else
        snprintf(text, size, "%s; set statement_timeout = %llu", settings,
                 (unsigned long long)limit);
    return c->setup <= 1;
}

static void send_setup(struct pg_conn *c)
{
    char text[512];

    setup_text(c, text, sizeof(text));
    if (!pg_send_step(c, PG_STEP_SETUP, text))
        pg_connect_failed(c, pq.errorMessage(c->pg));
}

void pg_setup_next(struct pg_conn *c)
{
    char text[512];

    if (c->setup > 0 && c->failed) {
        snprintf(text, sizeof(text), "%s", c->problem);
        pg_connect_failed(c, text);
        return;
    }
    c->setup++;
    if (setup_text(c, text, sizeof(text))) {
        send_setup(c);
        return;
    }
    if (!c->listens)
        c->pool->connecting--;
    pg_next(c);
}

static void connected(struct pg_conn *c)
{
    pq.setnonblocking(c->pg, 1);
    c->state = PG_SETTING_UP;
    send_setup(c);
}

static void go_on_connecting(struct pg_conn *c)
{
    char text[512];

    set_events(c, 0); /* libpq may close the descriptor and open another */
    switch (pq.connectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        set_events(c, POLL_READ);
        return;
    case PGRES_POLLING_WRITING:
        set_events(c, POLL_WRITE);
        return;
    case PGRES_POLLING_OK:
        connected(c);
        return;
    default:
        snprintf(text, sizeof(text), "%s", pq.errorMessage(c->pg));
        pg_connect_failed(c, text);
    }
}

static void ready(struct poll *poll, unsigned events)
{
    struct pg_conn *c = (struct pg_conn *)poll;
    struct postgres *pool = c->pool;

    (void)events;
    if (c->state == PG_CONNECTING)
        go_on_connecting(c);
    else
        pg_receive(c);
    pg_tell(pool);
}

/* libpq writes what the server warns of to stderr unless told otherwise. */
static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static void start_connecting(struct pg_conn *c, const struct pg_settings *settings)
{
    char text[512];

    c->state = PG_CONNECTING;
    c->pg = pq.connectStartParams((const char *const *)settings->names,
                                  (const char *const *)settings->values, 0);
    if (!c->pg || pq.status(c->pg) == CONNECTION_BAD) {
        snprintf(text, sizeof(text), "%s", c->pg ? pq.errorMessage(c->pg) : "out of memory");
        pg_connect_failed(c, text);
        return;
    }
    pq.setNoticeProcessor(c->pg, ignore_notice, NULL);
    set_events(c, POLL_WRITE);
}

static void resolved(struct resolve *resolve)
{
    struct pg_conn *c = (struct pg_conn *)((char *)resolve - offsetof(struct pg_conn, resolve));
    struct postgres *pool = c->pool;
    struct pg_settings settings;

    c->resolving = false;
    if (c->lost) {
        /* the time was over, or the pool is closed */
    } else if (resolve->count == 0) {
        pg_connect_failed(c, resolve->problem);
    } else {
        pg_settings_resolved(&pool->settings, resolve, &settings);
        start_connecting(c, &settings);
        pg_settings_fini(&settings);
    }
    pg_hosts_free(resolve->names, resolve->name_count);
    resolve_fini(resolve);
    pg_tell(pool);
    pg_unpin(pool);
}

void pg_conn_new(struct postgres *pool, bool listens)
{
    struct pg_conn *c = mem_alloc(sizeof(*c));

    c->poll.ready = ready;
    c->timer.fire = expired;
    c->pool = pool;
    c->listens = listens;
    c->held.last = &c->held.first;
    c->next = pool->conns;
    pool->conns = c;
    if (listens)
        pool->listening = c;
    else {
        pool->open++;
        pool->connecting++;
    }
    timer_start(pool->loop, &c->timer, pool->limits.connect_timeout_ms);
    c->resolve.names = pg_hosts(&pool->settings, &c->resolve.name_count);
    if (c->resolve.names) {
        c->state = PG_RESOLVING;
        c->resolving = true;
        c->resolve.done = resolved;
        pool->pins++;
        resolve_start(pool->loop, &c->resolve);
    } else {
        start_connecting(c, &pool->settings);
    }
}
