/* LISTEN and NOTIFY, over a connection of their own that is made again whenever it is lost. */
#include "data/postgres_impl.h"

#include <stdio.h>
#include <string.h>

enum { AGAIN_FIRST_MS = 250, AGAIN_MOST_MS = 10000 };

static void add_statement(struct buf *sql, const char *verb, const char *channel)
{
    buf_printf(sql, "%s \"", verb);
    for (; *channel; channel++) {
        if (*channel == '"')
            buf_putc(sql, '"');
        buf_putc(sql, *channel);
    }
    buf_puts(sql, "\";");
}

void pg_listen_next(struct pg_conn *c)
{
    struct postgres *pool = c->pool;
    struct buf sql = pool->unlisten;

    if (!pool->listeners) {
        pg_conn_lose(c, "CLOSED", "nobody listens");
        return;
    }
    pool->unlisten = (struct buf){0};
    for (struct postgres_listener *l = pool->listeners; l; l = l->next) {
        if (l->state != LISTENER_ASKED)
            continue;
        add_statement(&sql, "listen", l->channel);
        l->state = LISTENER_SENT;
    }
    if (sql.len > 0 && !pg_send_step(c, PG_STEP_LISTEN, sql.data))
        pg_conn_lose(c, "CONNECTION_LOST", "the connection was lost: %s", pq.errorMessage(c->pg));
    buf_fini(&sql);
}

static void activate(struct postgres_listener *l)
{
    l->state = LISTENER_ACTIVE;
    if (l->told) {
        l->restored(l);
        return;
    }
    l->told = true;
    l->settled(l, NULL);
}

void pg_listen_done(struct pg_conn *c, bool ok)
{
    struct postgres *pool = c->pool;

    if (!ok) {
        pg_conn_lose(c, "CONNECTION_LOST", "%s", c->problem);
        return;
    }
    pool->again_ms = 0;
    for (struct postgres_listener *l = pool->listeners; l; l = l->next) {
        if (l->state == LISTENER_SENT)
            activate(l);
    }
    pg_next(c);
}

void pg_listen_heard(struct pg_conn *c)
{
    PGnotify *news;

    while ((news = pq.notifies(c->pg))) {
        struct postgres_listener *l = c->listens ? c->pool->listeners : NULL;

        for (; l; l = l->next) {
            if (strcmp(l->channel, news->relname) == 0)
                l->heard(l, news->extra, strlen(news->extra));
        }
        pq.freemem(news);
    }
}

/* --- again after a loss --- */

static void connect_again(struct timer *timer)
{
    struct postgres *pool = (struct postgres *)((char *)timer - offsetof(struct postgres, again));

    if (!pool->listening)
        pg_conn_new(pool, true);
    pg_tell(pool);
}

static void start_again(struct postgres *pool)
{
    pool->again_ms = pool->again_ms == 0 ? AGAIN_FIRST_MS : pool->again_ms * 2;
    if (pool->again_ms > AGAIN_MOST_MS)
        pool->again_ms = AGAIN_MOST_MS;
    pool->again.fire = connect_again;
    timer_start(pool->loop, &pool->again, pool->again_ms);
}

/* Who has not been told yet is told that it failed, and is no listener any more. */
void pg_listen_lost(struct postgres *pool, const char *code, const char *message)
{
    struct postgres_error error = {.code = ""};
    struct postgres_listener **slot = &pool->listeners;

    buf_fini(&pool->unlisten);
    snprintf(error.code, sizeof(error.code), "%s", code);
    snprintf(error.message, sizeof(error.message), "%s", message);
    while (*slot) {
        struct postgres_listener *l = *slot;

        l->state = LISTENER_ASKED;
        if (l->told) {
            slot = &l->next;
            continue;
        }
        *slot = l->next;
        l->settled(l, &error);
    }
    if (pool->listeners && !pool->closed)
        start_again(pool);
}

/* --- listeners come and go --- */

void postgres_listen(struct postgres *pool, struct postgres_listener *listener)
{
    listener->pool = pool;
    listener->state = LISTENER_ASKED;
    listener->told = false;
    listener->next = pool->listeners;
    pool->listeners = listener;
    if (!pool->listening) {
        timer_stop(&pool->again);
        pg_conn_new(pool, true);
    } else if (pool->listening->state == PG_IDLE) {
        pg_next(pool->listening);
    }
}

static bool has_listener(const struct postgres *pool, const char *channel)
{
    for (const struct postgres_listener *l = pool->listeners; l; l = l->next) {
        if (strcmp(l->channel, channel) == 0)
            return true;
    }
    return false;
}

void postgres_unlisten(struct postgres_listener *listener)
{
    struct postgres *pool = listener->pool;
    struct postgres_listener **slot = &pool->listeners;

    while (*slot && *slot != listener)
        slot = &(*slot)->next;
    if (!*slot)
        return;
    *slot = listener->next;
    if (!pool->listeners)
        timer_stop(&pool->again);
    if (!pool->listening)
        return;
    if (!has_listener(pool, listener->channel))
        add_statement(&pool->unlisten, "unlisten", listener->channel);
    if (pool->listening->state == PG_IDLE)
        pg_next(pool->listening);
    pg_sweep(pool);
}

void pg_listen_close(struct postgres *pool)
{
    timer_stop(&pool->again);
    pool->listeners = NULL;
    if (pool->listening)
        pg_conn_lose(pool->listening, "CLOSED", "the database was closed");
    buf_fini(&pool->unlisten);
}
