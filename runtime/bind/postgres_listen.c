/* Listeners of buntime.core.postgres. */
#include "bind/postgres.h"

#include <stdio.h>
#include <string.h>

#include "bind/misuse.h"

enum { CHANNEL_MAX = 63 }; /* bytes that the server looks at */

struct listener {
    struct subscription subscription; /* first: both cast back */
    struct postgres_listener listener;
    char channel[CHANNEL_MAX + 1];
};

static struct listener *listener_of(struct postgres_listener *listener)
{
    return (struct listener *)((char *)listener - offsetof(struct listener, listener));
}

static void settled(struct postgres_listener *listener, const struct postgres_error *error)
{
    subscription_settled(&listener_of(listener)->subscription, error ? error->code : NULL,
                         error ? error->message : NULL);
}

static void heard(struct postgres_listener *listener, const char *payload, size_t len)
{
    struct listener *l = listener_of(listener);
    const struct str parts[] = {{payload, len}, str_of(l->channel)};

    inbox_add(l->subscription.inbox, parts, 2);
}

static void restored(struct postgres_listener *listener)
{
    struct listener *l = listener_of(listener);
    const struct str parts[] = {str_of(l->channel)};

    if (l->subscription.restored)
        inbox_add(l->subscription.restored, parts, 1);
}

static void end(struct subscription *s)
{
    postgres_unlisten(&((struct listener *)s)->listener);
}

static const struct subscription_kind kind = {
    .type = "buntime.postgres.listener",
    .size = sizeof(struct listener),
    .end = end,
};

static bool check_channel(lua_State *L)
{
    size_t len = 0;
    const char *channel = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &len) : NULL;

    if (!channel)
        return misuse(L, "the channel must be a string, got %s", lua_typename(L, lua_type(L, 2)));
    if (len == 0 || len > CHANNEL_MAX || strlen(channel) != len)
        return misuse(L, "the channel must be 1 to %d bytes", CHANNEL_MAX);
    return lua_isfunction(L, 3) || misuse(L, "expected a function for the messages, got %s",
                                          lua_typename(L, lua_type(L, 3)));
}

/* listen(db, channel, fn, restored | nil) -> listener: waits for the server's word */
int postgres_listen_on(lua_State *L)
{
    struct lua_postgres *db;
    struct listener *l;

    lua_settop(L, 4);
    if (!postgres_check_db(L, &db) || !check_channel(L))
        return 2;
    l = (struct listener *)subscription_new(L, &kind, &db->subscriptions);
    snprintf(l->channel, sizeof(l->channel), "%s", lua_tostring(L, 2));
    l->listener = (struct postgres_listener){
        .channel = l->channel,
        .settled = settled,
        .heard = heard,
        .restored = restored,
    };
    postgres_listen(db->pool, &l->listener);
    return subscription_wait(L, &l->subscription);
}

/* stop(listener) -> whether it still listened */
int postgres_listen_stop(lua_State *L)
{
    return subscription_stop(L, &kind);
}

void postgres_listen_register(lua_State *L)
{
    subscription_register(L, &kind, "listener");
}
