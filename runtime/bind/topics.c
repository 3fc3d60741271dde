#include "bind/topics.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bind/topics_relay.h"
#include "http/websocket.h"

enum { BUCKETS = 1024 };

struct topic {
    struct topic *next; /* in the bucket */
    struct subscription *first;
    size_t len;
    char name[];
};

struct subscription {
    struct topic *topic;
    struct websocket *ws;
    struct subscription *prev, *next; /* of the topic */
    struct subscription *more;        /* of the socket */
};

struct topics {
    struct topics_relay relay; /* first: heard() casts back */
    struct topic *buckets[BUCKETS];
};

static struct topic **place_of(struct topics *topics, struct str name)
{
    uint32_t hash = 2166136261;
    struct topic **at;

    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (unsigned char)name.at[i]) * 16777619;
    at = &topics->buckets[hash % BUCKETS];
    while (*at && !str_equal((struct str){(*at)->name, (*at)->len}, name))
        at = &(*at)->next;
    return at;
}

static struct topic *make_topic(struct str name)
{
    struct topic *topic = mem_alloc(sizeof(*topic) + name.len);

    topic->len = name.len;
    memcpy(topic->name, name.at, name.len);
    return topic;
}

static struct subscription **find(struct subscription **list, struct str name)
{
    while (*list && !str_equal((struct str){(*list)->topic->name, (*list)->topic->len}, name))
        list = &(*list)->more;
    return list;
}

bool topics_subscribe(struct topics *topics,
                      struct subscription **list,
                      struct websocket *ws,
                      struct str name)
{
    struct subscription *s;
    struct topic **at;

    if (*find(list, name))
        return false;
    at = place_of(topics, name);
    if (!*at)
        *at = make_topic(name);
    s = mem_alloc(sizeof(*s));
    s->topic = *at;
    s->ws = ws;
    s->next = s->topic->first;
    if (s->next)
        s->next->prev = s;
    s->topic->first = s;
    s->more = *list;
    *list = s;
    return true;
}

static void leave(struct topics *topics, struct subscription *s)
{
    struct topic *topic = s->topic;

    if (s->prev)
        s->prev->next = s->next;
    else
        topic->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    free(s);
    if (!topic->first) {
        *place_of(topics, (struct str){topic->name, topic->len}) = topic->next;
        free(topic);
    }
}

bool topics_unsubscribe(struct topics *topics, struct subscription **list, struct str name)
{
    struct subscription **at = find(list, name), *s = *at;

    if (!s)
        return false;
    *at = s->more;
    leave(topics, s);
    return true;
}

void topics_leave(struct topics *topics, struct subscription **list)
{
    while (*list) {
        struct subscription *s = *list;
        *list = s->more;
        leave(topics, s);
    }
}

/* --- publishing --- */

static size_t
deliver(struct topics *topics, const struct published *p, const struct websocket *except)
{
    const struct topic *topic = *place_of(topics, p->topic);
    size_t count = 0;

    for (struct subscription *s = topic ? topic->first : NULL; s; s = s->next) {
        if (s->ws == except || websocket_closing(s->ws))
            continue;
        websocket_send(s->ws, p->data, p->binary);
        count++;
    }
    return count;
}

size_t topics_publish(struct topics *topics,
                      struct str name,
                      struct str data,
                      bool binary,
                      const struct websocket *except)
{
    const struct published p = {name, data, binary};

    topics_relay_publish(&topics->relay, &p);
    return deliver(topics, &p, except);
}

static void heard(struct topics_relay *relay, const struct published *p)
{
    deliver((struct topics *)relay, p, NULL);
}

/* --- the whole --- */

struct topics *topics_new(struct loop *loop, struct bus *bus)
{
    struct topics *topics = mem_alloc(sizeof(*topics));

    topics->relay.loop = loop;
    topics->relay.bus = bus;
    topics->relay.heard = heard;
    topics_relay_start(&topics->relay);
    return topics;
}

void topics_free(struct topics *topics)
{
    if (!topics)
        return;
    topics_relay_stop(&topics->relay);
    free(topics);
}
