#include "data/shared_redis.h"

#include <stdlib.h>
#include <string.h>

enum {
    AGAIN_MS = 1000,
    NUMBER_SIZE = 40, /* of the digits and a NUL */
};

/* --- values --- */

static bool decode_number(struct str digits, double *number)
{
    char text[NUMBER_SIZE];
    char *end;

    if (digits.len == 0 || digits.len >= sizeof(text))
        return false;
    memcpy(text, digits.at, digits.len);
    text[digits.len] = '\0';
    *number = strtod(text, &end);
    return end == text + digits.len;
}

bool shared_redis_decode(struct str bytes, struct shared_value *value)
{
    struct str rest;

    *value = (struct shared_value){.type = SHARED_TEXT};
    if (bytes.len == 0)
        return false;
    rest = (struct str){bytes.at + 1, bytes.len - 1};
    switch (*bytes.at) {
    case 's':
        value->text = rest;
        return true;
    case 'j':
        value->type = SHARED_JSON;
        value->text = rest;
        return true;
    case 'n':
        value->type = SHARED_NUMBER;
        return decode_number(rest, &value->number);
    case 'b':
        value->type = SHARED_BOOLEAN;
        value->flag = str_equal(rest, STR("1"));
        return value->flag || str_equal(rest, STR("0"));
    default:
        return false;
    }
}

static struct shared_redis_channel *channel_of(struct redis_subscriber *subscriber)
{
    return (struct shared_redis_channel *)subscriber;
}

/* --- names --- */

/* A pattern for the channels that begin with what is in `pattern`, and then with `prefix`. */
static void add_prefix(struct buf *pattern, struct str prefix)
{
    for (size_t i = 0; i < prefix.len; i++) {
        if (memchr("\\*?[]", prefix.at[i], 5))
            buf_putc(pattern, '\\');
        buf_putc(pattern, prefix.at[i]);
    }
    buf_putc(pattern, '*');
}

static void name_channels(struct shared_redis_watch *watch)
{
    const unsigned number = redis_number(watch->redis);

    buf_printf(&watch->channels[0].pattern, "__keyspace@%u__:" SHARED_REDIS_KEY, number);
    buf_printf(&watch->channels[1].pattern, SHARED_REDIS_CHANNEL, number);
    watch->channels[0].events = true;
    for (size_t i = 0; i < 2; i++) {
        struct shared_redis_channel *c = &watch->channels[i];
        c->skip = c->pattern.len;
        add_prefix(&c->pattern, watch->prefix);
    }
}

/* --- what is heard --- */

static void heard(struct redis_subscriber *subscriber, struct str channel, struct str message)
{
    const struct shared_redis_channel *c = channel_of(subscriber);
    const struct str key = {channel.at + c->skip,
                            channel.len > c->skip ? channel.len - c->skip : 0};
    const bool gone = c->events
                          ? str_equal(message, STR("expired")) || str_equal(message, STR("evicted"))
                          : message.len == 0;
    struct shared_value value;

    if (key.len == 0)
        return; /* no key of ours: keys have bytes */
    if (gone)
        c->watch->changed(c->watch, key, NULL);
    else if (!c->events && shared_redis_decode(message, &value))
        c->watch->changed(c->watch, key, &value);
}

static void settled(struct redis_subscriber *subscriber, const struct redis_error *error)
{
    struct shared_redis_channel *c = channel_of(subscriber);
    struct shared_redis_watch *watch = c->watch;

    c->agreed = c->there = !error;
    if (error) {
        watch->late = true;
        if (!watch->failed.queued)
            watch->settled(watch, error);
        loop_post(watch->loop, &watch->failed);
    } else if (watch->channels[0].agreed && watch->channels[1].agreed) {
        watch->settled(watch, NULL);
        if (watch->late)
            watch->restored(watch);
    }
}

static void restored(struct redis_subscriber *subscriber)
{
    const struct shared_redis_channel *c = channel_of(subscriber);

    if (!c->events)
        c->watch->restored(c->watch);
}

/* --- its life --- */

static void leave(struct shared_redis_watch *watch)
{
    for (size_t i = 0; i < 2; i++) {
        if (watch->channels[i].there)
            redis_unsubscribe(&watch->channels[i].subscriber);
        watch->channels[i].there = watch->channels[i].agreed = false;
    }
}

static void enter(struct shared_redis_watch *watch)
{
    for (size_t i = 0; i < 2; i++) {
        struct shared_redis_channel *c = &watch->channels[i];
        c->watch = watch;
        c->there = true;
        c->subscriber = (struct redis_subscriber){
            .name = {c->pattern.data, c->pattern.len},
            .pattern = true,
            .settled = settled,
            .heard = heard,
            .restored = restored,
        };
        redis_subscribe(watch->redis, &c->subscriber);
    }
}

/* Not from inside settled(), which may call nothing of Redis. */
static void give_up(struct post *post)
{
    struct shared_redis_watch *watch =
        (struct shared_redis_watch *)((char *)post - offsetof(struct shared_redis_watch, failed));

    leave(watch);
    timer_start(watch->loop, &watch->again, AGAIN_MS);
}

static void try_again(struct timer *timer)
{
    enter(
        (struct shared_redis_watch *)((char *)timer - offsetof(struct shared_redis_watch, again)));
}

void shared_redis_watch_start(struct shared_redis_watch *watch,
                              struct redis *redis,
                              struct loop *loop)
{
    watch->redis = redis;
    watch->loop = loop;
    watch->again.fire = try_again;
    watch->failed.run = give_up;
    name_channels(watch);
    enter(watch);
}

void shared_redis_watch_stop(struct shared_redis_watch *watch)
{
    if (!watch->redis)
        return;
    timer_stop(&watch->again);
    loop_unpost(watch->loop, &watch->failed);
    leave(watch);
    watch->redis = NULL;
    for (size_t i = 0; i < 2; i++)
        buf_fini(&watch->channels[i].pattern);
}
