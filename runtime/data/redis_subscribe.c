/* Subscriptions, over a connection of their own that is made again whenever it is lost. */
#include "data/redis_impl.h"

#include <stdio.h>
#include <string.h>

static void send_one(struct redis_conn *c, struct str verb, struct str name)
{
    struct buf commands = {0};

    redis_put_command(&commands, 2);
    redis_put_argument(&commands, verb);
    redis_put_argument(&commands, name);
    redis_conn_send(c, &commands);
    buf_fini(&commands);
}

void redis_subscribe_all(struct redis_conn *c)
{
    for (struct redis_subscriber *s = c->redis->subscribers; s; s = s->next) {
        if (s->state != SUBSCRIBER_ASKED)
            continue;
        send_one(c, s->pattern ? STR("PSUBSCRIBE") : STR("SUBSCRIBE"), s->name);
        s->state = SUBSCRIBER_SENT;
        s->order = ++c->redis->last_order;
    }
}

/* Its server answers in this order. */
static struct redis_subscriber *first_sent(const struct redis *redis)
{
    struct redis_subscriber *first = NULL;

    for (struct redis_subscriber *s = redis->subscribers; s; s = s->next) {
        if (s->state == SUBSCRIBER_SENT && (!first || s->order < first->order))
            first = s;
    }
    return first;
}

static void remove_subscriber(struct redis_subscriber *subscriber)
{
    struct redis_subscriber **slot = &subscriber->redis->subscribers;

    while (*slot && *slot != subscriber)
        slot = &(*slot)->next;
    if (*slot)
        *slot = subscriber->next;
}

/* --- what is heard --- */

static void subscribed(struct redis *redis, struct str name, bool pattern)
{
    struct redis_subscriber *s = first_sent(redis);

    /* One that was given up meanwhile has no subscriber any more. */
    if (!s || s->pattern != pattern || !str_equal(s->name, name))
        return;
    redis->subscribe_backoff_ms = 0;
    s->state = SUBSCRIBER_ACTIVE;
    if (s->told) {
        s->restored(s);
        return;
    }
    s->told = true;
    s->settled(s, NULL);
}

/* The server has refused the first that waits for its word. */
static void refused(struct redis_conn *c, struct str text)
{
    struct redis_subscriber *s = first_sent(c->redis);
    struct redis_error error = {.code = "ERR"};

    if (!s || s->told) {
        redis_conn_lose(c, "CONNECTION_LOST", "the server says: %.*s", (int)text.len, text.at);
        return;
    }
    snprintf(error.code, sizeof(error.code), "%.*s", (int)strcspn(text.at, " "), text.at);
    snprintf(error.message, sizeof(error.message), "%.*s", (int)text.len, text.at);
    remove_subscriber(s);
    s->settled(s, &error);
}

static void heard(struct redis *redis, struct str name, bool pattern, const struct str *parts)
{
    for (struct redis_subscriber *s = redis->subscribers; s; s = s->next) {
        if (s->pattern == pattern && str_equal(s->name, name))
            s->heard(s, parts[0], parts[1]);
    }
}

/* Lists of strings; the numbers in some of them have no bytes. */
void redis_subscribed_heard(struct redis_conn *c)
{
    struct redis_value value;
    struct str part[4] = {{NULL, 0}};
    const char *at = redis_get(c->incoming.data, &value);

    if (value.type == REDIS_ERROR)
        refused(c, value.bytes);
    if (value.type != REDIS_LIST || value.integer < 3 || value.integer > 4)
        return; /* the answer to a ping */
    for (int64_t i = 0, count = value.integer; i < count; i++) {
        at = redis_get(at, &value);
        if (value.type == REDIS_LIST)
            return;
        part[i] = value.bytes;
    }
    if (str_equal(part[0], STR("message")))
        heard(c->redis, part[1], false, &part[1]);
    else if (str_equal(part[0], STR("pmessage")))
        heard(c->redis, part[1], true, &part[2]);
    else if (str_equal(part[0], STR("subscribe")))
        subscribed(c->redis, part[1], false);
    else if (str_equal(part[0], STR("psubscribe")))
        subscribed(c->redis, part[1], true);
}

/* --- again after a loss --- */

static void connect_again(struct timer *timer)
{
    struct redis *redis = (struct redis *)((char *)timer - offsetof(struct redis, subscribe_again));

    if (!redis->subscribed) {
        redis->subscribed = redis_conn_new(redis, ROLE_SUBSCRIBED);
        redis_conn_connect(redis->subscribed);
    }
    redis_tell(redis);
}

/* Who has not been told yet is told that it failed, and is no subscriber any more. */
void redis_subscribed_lost(struct redis *redis, const char *code, const char *message)
{
    struct redis_subscriber **slot = &redis->subscribers;
    struct redis_error error = {.code = ""};

    snprintf(error.code, sizeof(error.code), "%s", code);
    snprintf(error.message, sizeof(error.message), "%s", message);
    while (*slot) {
        struct redis_subscriber *s = *slot;

        s->state = SUBSCRIBER_ASKED;
        if (s->told) {
            slot = &s->next;
            continue;
        }
        *slot = s->next;
        s->settled(s, &error);
    }
    if (!redis->subscribers || redis->closed)
        return;
    redis->subscribe_backoff_ms = redis_backoff(redis->subscribe_backoff_ms);
    redis->subscribe_again.fire = connect_again;
    timer_start(redis->loop, &redis->subscribe_again, redis->subscribe_backoff_ms);
}

/* --- subscribers come and go --- */

void redis_subscribe(struct redis *redis, struct redis_subscriber *subscriber)
{
    subscriber->redis = redis;
    subscriber->state = SUBSCRIBER_ASKED;
    subscriber->told = false;
    subscriber->next = redis->subscribers;
    redis->subscribers = subscriber;
    if (redis->subscribed && redis->subscribed->state == REDIS_READY)
        redis_subscribe_all(redis->subscribed);
    if (redis->subscribed)
        return;
    timer_stop(&redis->subscribe_again);
    redis->subscribed = redis_conn_new(redis, ROLE_SUBSCRIBED);
    redis_conn_connect(redis->subscribed);
}

static bool has_other(const struct redis_subscriber *gone)
{
    for (const struct redis_subscriber *s = gone->redis->subscribers; s; s = s->next) {
        if (s->pattern == gone->pattern && str_equal(s->name, gone->name))
            return true;
    }
    return false;
}

void redis_unsubscribe(struct redis_subscriber *subscriber)
{
    struct redis *redis = subscriber->redis;

    remove_subscriber(subscriber);
    if (!redis->subscribers) {
        timer_stop(&redis->subscribe_again);
        if (redis->subscribed)
            redis_conn_lose(redis->subscribed, "CLOSED", "nobody is subscribed");
        redis_sweep(redis);
        return;
    }
    if (redis->subscribed && redis->subscribed->state == REDIS_READY && !has_other(subscriber))
        send_one(redis->subscribed, subscriber->pattern ? STR("PUNSUBSCRIBE") : STR("UNSUBSCRIBE"),
                 subscriber->name);
}

void redis_subscribers_close(struct redis *redis)
{
    timer_stop(&redis->subscribe_again);
    redis->subscribers = NULL;
}
