/* The life of a connection: host name, addresses in turn, greeting, and its end. */
#include "data/redis_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

/* --- the end --- */

/* The first is the one that the reason is about; those behind it share its fate. */
static void fail_on_way(struct redis_conn *c, const char *code, const char *message)
{
    struct redis_request *r;

    while ((r = redis_queue_take(&c->on_way))) {
        redis_fail(r, code, message);
        redis_finish(r);
        if (strcmp(code, "CLOSED") != 0)
            code = "CONNECTION_LOST";
    }
}

/* No later event reaches it. */
static void cut(struct redis_conn *c)
{
    struct redis *redis = c->redis;

    c->lost = true;
    poll_stop(&c->poll);
    timer_stop(&c->timer);
    if (c->context)
        redisFree(c->context);
    c->context = NULL;
    if (redis->shared == c)
        redis->shared = NULL;
    if (redis->subscribed == c)
        redis->subscribed = NULL;
    if (c->role == ROLE_BLOCKING)
        redis->blocking--;
}

void redis_conn_lose(struct redis_conn *c, const char *code, const char *fmt, ...)
{
    char message[512];
    va_list args;

    if (c->lost)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    cut(c);
    fail_on_way(c, code, message);
    if (c->role == ROLE_SUBSCRIBED)
        redis_subscribed_lost(c->redis, code, message);
}

void redis_sweep(struct redis *redis)
{
    struct redis_conn **slot = &redis->conns;

    while (*slot) {
        struct redis_conn *c = *slot;

        if (!c->lost || c->resolving) {
            slot = &c->next;
            continue;
        }
        *slot = c->next;
        buf_fini(&c->incoming);
        resolve_fini(&c->resolve);
        free(c);
    }
}

void redis_connect_failed(struct redis_conn *c, const char *message)
{
    struct redis *redis = c->redis;
    const bool shared = redis->shared == c;
    char text[512];

    snprintf(text, sizeof(text), "cannot connect to %s: %s", redis->label, message);
    redis_conn_lose(c, "CONNECTION_FAILED", "%s", text);
    if (!shared)
        return;
    redis->backoff_ms = redis_backoff(redis->backoff_ms);
    redis->again_ms = loop_now_ms(redis->loop) + redis->backoff_ms;
    redis_fail_waiting(redis, "CONNECTION_FAILED", text);
}

/* --- time --- */

static void lose_overdue(struct redis_conn *c)
{
    const double seconds = (double)c->redis->limits.timeout_ms / 1000;

    redis_conn_lose(c, "TIMEOUT", "no answer within %g s", seconds);
}

static void ping(struct redis_conn *c)
{
    struct buf commands = {0};

    if (c->quiet) {
        redis_conn_lose(c, "CONNECTION_LOST", "the server does not answer");
        return;
    }
    c->quiet = true;
    redis_put_command(&commands, 1);
    redis_put_argument(&commands, STR("PING"));
    redis_conn_send(c, &commands);
    buf_fini(&commands);
    timer_start(c->redis->loop, &c->timer, REDIS_PING_TIMES * c->redis->limits.timeout_ms);
}

static void expired(struct timer *timer)
{
    struct redis_conn *c =
        (struct redis_conn *)((char *)timer - offsetof(struct redis_conn, timer));
    struct redis *redis = c->redis;
    char text[64];

    if (c->state != REDIS_READY) {
        snprintf(text, sizeof(text), "no answer within %g s",
                 (double)redis->limits.connect_timeout_ms / 1000);
        redis_connect_failed(c, text);
    } else if (c->role == ROLE_SHARED) {
        lose_overdue(c);
    } else if (c->role == ROLE_SUBSCRIBED) {
        ping(c);
    } else {
        redis_conn_lose(c, "CLOSED", "the connection was idle");
    }
    redis_tell(redis);
}

void redis_conn_rest(struct redis_conn *c)
{
    const struct redis_request *first = c->on_way.first;
    const uint64_t now = loop_now_ms(c->redis->loop);

    if (c->state != REDIS_READY || c->role == ROLE_SUBSCRIBED)
        return;
    timer_stop(&c->timer);
    if (c->role == ROLE_SHARED && first)
        timer_start(c->redis->loop, &c->timer,
                    first->deadline_ms > now ? first->deadline_ms - now : 0);
    else if (c->role == ROLE_BLOCKING && !first)
        timer_start(c->redis->loop, &c->timer, REDIS_IDLE_MS);
}

/* --- sending --- */

void redis_conn_send(struct redis_conn *c, const struct buf *commands)
{
    /* Fails only for want of memory, which ends the process before. */
    redisAppendFormattedCommand(c->context, commands->data, commands->len);
    c->unsent = true;
    loop_post(c->redis->loop, &c->redis->tell);
}

void redis_conn_run(struct redis_conn *c, struct redis_request *r)
{
    const bool first = !c->on_way.first;

    r->conn = c;
    redis_queue_add(&c->on_way, r);
    redis_conn_send(c, &r->commands);
    buf_fini(&r->commands);
    if (first)
        redis_conn_rest(c);
}

/* --- connecting --- */

void redis_conn_ready(struct redis_conn *c)
{
    struct redis *redis = c->redis;
    struct redis_request *r;

    c->state = REDIS_READY;
    if (c->role == ROLE_SUBSCRIBED) {
        timer_start(redis->loop, &c->timer, REDIS_PING_TIMES * redis->limits.timeout_ms);
        redis_subscribe_all(c);
        return;
    }
    timer_stop(&c->timer);
    if (c->role == ROLE_BLOCKING) { /* its request is there already, but not sent */
        if (c->on_way.first)
            redis_conn_send(c, &c->on_way.first->commands);
        return;
    }
    redis->backoff_ms = 0;
    redis->again_ms = 0;
    while ((r = redis_queue_take(&redis->waiting)))
        redis_conn_run(c, r);
}

static void add_login(struct redis_conn *c, struct buf *commands)
{
    const struct redis_server *server = &c->redis->server;

    if (!server->password)
        return;
    redis_put_command(commands, server->user ? 3 : 2);
    redis_put_argument(commands, STR("AUTH"));
    if (server->user)
        redis_put_argument(commands, str_of(server->user));
    redis_put_argument(commands, str_of(server->password));
    c->greetings++;
}

static void add_number(struct redis_conn *c, struct buf *commands)
{
    char number[16];

    if (c->redis->server.number == 0)
        return;
    snprintf(number, sizeof(number), "%u", c->redis->server.number);
    redis_put_command(commands, 2);
    redis_put_argument(commands, STR("SELECT"));
    redis_put_argument(commands, str_of(number));
    c->greetings++;
}

static void greet(struct redis_conn *c)
{
    struct buf commands = {0};

    c->state = REDIS_GREETING;
    if (!c->redis->server.local)
        redisEnableKeepAlive(c->context);
    redis_use_reader(c);
    redis_watch(c, POLL_READ);
    add_login(c, &commands);
    add_number(c, &commands);
    if (c->greetings > 0)
        redis_conn_send(c, &commands);
    else
        redis_conn_ready(c);
    buf_fini(&commands);
}

static void try_next(struct redis_conn *c, const char *problem);

/* The descriptor can be written, or has failed. */
static void connected(struct redis_conn *c)
{
    socklen_t len = sizeof(int);
    int failure = 0;

    if (getsockopt(c->context->fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0)
        failure = errno;
    if (failure != 0)
        try_next(c, strerror(failure));
    else
        greet(c);
}

static void ready(struct poll *poll, unsigned events)
{
    struct redis_conn *c = (struct redis_conn *)poll;
    struct redis *redis = c->redis;

    if (c->state == REDIS_CONNECTING)
        connected(c);
    else if (events & POLL_READ)
        redis_read(c);
    if (!c->lost && c->state > REDIS_CONNECTING && (events & POLL_WRITE))
        c->unsent = true;
    redis_tell(redis);
}

/* An address, or the path of a socket. */
static void start_connecting(struct redis_conn *c, const char *address)
{
    const struct redis_server *server = &c->redis->server;
    char problem[128];

    c->state = REDIS_CONNECTING;
    c->context = server->local ? redisConnectUnixNonBlock(address)
                               : redisConnectNonBlock(address, (int)server->port);
    if (c->context && c->context->err == 0) {
        redis_watch(c, POLL_WRITE);
        return;
    }
    snprintf(problem, sizeof(problem), "%s", c->context ? c->context->errstr : "out of memory");
    try_next(c, problem);
}

static void try_next(struct redis_conn *c, const char *problem)
{
    poll_stop(&c->poll);
    c->events = 0;
    if (c->context)
        redisFree(c->context);
    c->context = NULL;
    if (c->address < c->resolve.count)
        start_connecting(c, c->resolve.found[c->address++].address);
    else
        redis_connect_failed(c, problem);
}

static void resolved(struct resolve *resolve)
{
    struct redis_conn *c =
        (struct redis_conn *)((char *)resolve - offsetof(struct redis_conn, resolve));
    struct redis *redis = c->redis;

    c->resolving = false;
    if (!c->lost)
        try_next(c, resolve->problem);
    redis_tell(redis);
    redis_unpin(redis);
}

struct redis_conn *redis_conn_new(struct redis *redis, enum redis_role role)
{
    struct redis_conn *c = mem_alloc(sizeof(*c));

    c->poll.ready = ready;
    c->timer.fire = expired;
    c->redis = redis;
    c->role = role;
    redis_queue_init(&c->on_way);
    c->next = redis->conns;
    redis->conns = c;
    if (role == ROLE_BLOCKING)
        redis->blocking++;
    timer_start(redis->loop, &c->timer, redis->limits.connect_timeout_ms);
    return c;
}

void redis_conn_connect(struct redis_conn *c)
{
    struct redis *redis = c->redis;

    if (redis->server.local) {
        start_connecting(c, redis->server.host);
        return;
    }
    c->state = REDIS_RESOLVING;
    c->resolving = true;
    c->resolve.names = &redis->server.host;
    c->resolve.name_count = 1;
    c->resolve.done = resolved;
    redis->pins++;
    resolve_start(redis->loop, &c->resolve);
}
