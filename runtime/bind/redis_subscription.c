/* Subscriptions of buntime.core.redis. */
#include "bind/redis.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bind/misuse.h"

enum { NAME_MAX_LEN = 4096 };

struct channel {
    struct subscription subscription; /* first: both cast back */
    struct redis_subscriber subscriber;
    char name[NAME_MAX_LEN];
};

static struct channel *channel_of(struct redis_subscriber *subscriber)
{
    return (struct channel *)((char *)subscriber - offsetof(struct channel, subscriber));
}

static void settled(struct redis_subscriber *subscriber, const struct redis_error *error)
{
    subscription_settled(&channel_of(subscriber)->subscription, error ? error->code : NULL,
                         error ? error->message : NULL);
}

static void heard(struct redis_subscriber *subscriber, struct str channel, struct str message)
{
    const struct str parts[] = {message, channel};

    inbox_add(channel_of(subscriber)->subscription.inbox, parts, 2);
}

static void restored(struct redis_subscriber *subscriber)
{
    struct channel *c = channel_of(subscriber);

    if (c->subscription.restored)
        inbox_add(c->subscription.restored, &subscriber->name, 1);
}

static void end(struct subscription *s)
{
    redis_unsubscribe(&((struct channel *)s)->subscriber);
}

static const struct subscription_kind kind = {
    .type = "buntime.redis.subscription",
    .size = sizeof(struct channel),
    .end = end,
};

static bool check_name(lua_State *L)
{
    const bool string = lua_type(L, 2) == LUA_TSTRING;

    if (!string)
        return misuse(L, "the channel must be a string, got %s", lua_typename(L, lua_type(L, 2)));
    if (lua_objlen(L, 2) == 0 || lua_objlen(L, 2) > NAME_MAX_LEN)
        return misuse(L, "the channel must be 1 to %d bytes", NAME_MAX_LEN);
    return lua_isfunction(L, 3) || misuse(L, "expected a function for the messages, got %s",
                                          lua_typename(L, lua_type(L, 3)));
}

/* subscribe(client, name, fn, restored | nil, pattern) -> subscription: waits for the server's word
 */
int redis_subscribe_to(lua_State *L)
{
    struct lua_redis *client;
    struct channel *c;
    struct str name;

    lua_settop(L, 5);
    if (!redis_check(L, &client) || !check_name(L))
        return 2;
    c = (struct channel *)subscription_new(L, &kind, &client->subscriptions);
    name.at = lua_tolstring(L, 2, &name.len);
    memcpy(c->name, name.at, name.len);
    c->subscriber = (struct redis_subscriber){
        .name = {c->name, name.len},
        .pattern = lua_toboolean(L, 5),
        .settled = settled,
        .heard = heard,
        .restored = restored,
    };
    redis_subscribe(client->redis, &c->subscriber);
    return subscription_wait(L, &c->subscription);
}

/* stop(subscription) -> whether it was still subscribed */
int redis_subscription_stop(lua_State *L)
{
    return subscription_stop(L, &kind);
}

void redis_subscription_register(lua_State *L)
{
    subscription_register(L, &kind, "subscription");
}
