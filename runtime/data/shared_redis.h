/* What replicas share through Redis: the names there, and watches of changes by whatever replica.
 *
 * A value stands under `buntime:shared:KEY`, with a letter for its type before it: `sTEXT`,
 * `jJSON`, `n1.5`, `b1`, `b0`. Who changes it says so on the channel `buntime:NUMBER:shared:KEY`
 * (channels belong to no database, so its number is in their name): the new value, or nothing for
 * one that was deleted. What has expired is only told by servers whose `notify-keyspace-events` has
 * `Kx`.
 *
 * A watch that Redis does not agree to is tried again until it is stopped.
 */
#pragma once

#include "base/buf.h"
#include "data/redis.h"
#include "data/shared.h"
#include "ev/loop.h"

#define SHARED_REDIS_KEY "buntime:shared:"
#define SHARED_REDIS_CHANNEL "buntime:%u:shared:"

/* Text stays where it is. False: these bytes are no value. */
bool shared_redis_decode(struct str bytes, struct shared_value *value);

/* Embedded in the watcher's struct. None of its functions may call anything here or of Redis. */
struct shared_redis_watch {
    struct str prefix; /* the watcher's */
    void (*changed)(struct shared_redis_watch *watch,
                    struct str key,
                    const struct shared_value *value); /* NULL: deleted, or expired */
    /* Redis has agreed, or (`error`) has not and is asked again. Maybe from inside the start. */
    void (*settled)(struct shared_redis_watch *watch, const struct redis_error *error);
    void (*restored)(struct shared_redis_watch *watch); /* changes may have been missed */

    struct redis *redis; /* NULL: not started */
    struct loop *loop;
    struct shared_redis_channel {
        struct redis_subscriber subscriber; /* first */
        struct shared_redis_watch *watch;
        struct buf pattern;
        size_t skip; /* of a channel's name, before the key */
        bool events; /* of keys: the message is the event */
        bool there;  /* it is subscribed, or on its way to be */
        bool agreed;
    } channels[2];
    bool late; /* Redis did not agree at first */
    struct timer again;
    struct post failed;
};

void shared_redis_watch_start(struct shared_redis_watch *watch,
                              struct redis *redis,
                              struct loop *loop);
void shared_redis_watch_stop(struct shared_redis_watch *watch); /* no-op if not started */
