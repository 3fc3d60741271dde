/* Messages over Redis' pub/sub. Its channels are those of all databases of the server, so the
 * database's number is part of the channel's name.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "data/bus_impl.h"
#include "data/redis.h"
#include "data/redis_value.h"

struct over_redis {
    struct redis_subscriber subscriber; /* first: its functions cast back */
    struct timer again;
    struct bus *bus; /* NULL: stopped, and freed with the last message */
    char channel[64];
    bool subscribed;
    unsigned sending;
};

struct sending {
    struct redis_request request; /* first: sent() casts back */
    struct over_redis *over;
    size_t len;
};

/* --- hearing --- */

static void settled(struct redis_subscriber *subscriber, const struct redis_error *error)
{
    struct over_redis *over = (struct over_redis *)subscriber;

    over->subscribed = !error;
    if (!error) {
        bus_restored(over->bus);
        return;
    }
    bus_problem(over->bus, error->code, error->message);
    timer_start(over->bus->options.loop, &over->again, BUS_AGAIN_MS);
}

static void heard(struct redis_subscriber *subscriber, struct str channel, struct str message)
{
    (void)channel;
    bus_heard(((struct over_redis *)subscriber)->bus, message);
}

static void restored(struct redis_subscriber *subscriber)
{
    bus_restored(((struct over_redis *)subscriber)->bus);
}

static void subscribe(struct over_redis *over)
{
    over->subscriber.name = str_of(over->channel);
    over->subscriber.settled = settled;
    over->subscriber.heard = heard;
    over->subscriber.restored = restored;
    over->subscribed = true;
    redis_subscribe(over->bus->options.redis, &over->subscriber);
}

static void subscribe_again(struct timer *timer)
{
    subscribe((struct over_redis *)((char *)timer - offsetof(struct over_redis, again)));
}

/* --- sending --- */

static void unref(struct over_redis *over)
{
    if (!over->bus && over->sending == 0)
        free(over);
}

static void sent(struct redis_request *request)
{
    struct sending *sending = (struct sending *)request;
    struct over_redis *over = sending->over;
    const size_t len = sending->len;
    struct redis_value reply = {.type = REDIS_NIL};
    const bool ok = request->ok;

    if (ok)
        redis_get(request->replies.data, &reply);
    if (over->bus && !ok)
        bus_problem(over->bus, request->error.code, request->error.message);
    redis_request_fini(request);
    free(sending);
    over->sending--;
    if (over->bus)
        bus_sent(over->bus, len, ok && reply.type == REDIS_INTEGER);
    unref(over);
}

static void send(void *state, struct str message)
{
    struct over_redis *over = state;
    struct sending *sending = mem_alloc(sizeof(*sending));

    sending->over = over;
    sending->len = message.len;
    sending->request.count = 1;
    sending->request.done = sent;
    redis_put_command(&sending->request.commands, 3);
    redis_put_argument(&sending->request.commands, STR("PUBLISH"));
    redis_put_argument(&sending->request.commands, str_of(over->channel));
    redis_put_argument(&sending->request.commands, message);
    over->sending++;
    redis_submit(over->bus->options.redis, &sending->request);
}

/* --- the whole --- */

static void *start(struct bus *bus)
{
    struct over_redis *over = mem_alloc(sizeof(*over));

    over->bus = bus;
    over->again.fire = subscribe_again;
    snprintf(over->channel, sizeof(over->channel), "buntime:bus:%u",
             redis_number(bus->options.redis));
    subscribe(over);
    return over;
}

/* What is on its way still goes out. */
static void stop(void *state)
{
    struct over_redis *over = state;

    timer_stop(&over->again);
    if (over->subscribed)
        redis_unsubscribe(&over->subscriber);
    over->bus = NULL;
    unref(over);
}

const struct bus_way bus_redis = {start, stop, send, BUS_MESSAGE_MAX};
