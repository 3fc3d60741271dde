/* Who has subscribed to what: the topics of the sockets of one server process, shared by its
 * plugins, and by replicas. A topic exists as long as somebody subscribes to it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct bus;
struct loop;
struct topics;
struct subscription;
struct websocket;

/* `bus` NULL: nobody else publishes. */
struct topics *topics_new(struct loop *loop, struct bus *bus);
void topics_free(struct topics *topics); /* when nobody subscribes any more; NULL is fine */

/* `*list` is the subscriber's own list, NULL at first. False if it has subscribed already. */
bool topics_subscribe(struct topics *topics,
                      struct subscription **list,
                      struct websocket *ws,
                      struct str name);
bool topics_unsubscribe(struct topics *topics, struct subscription **list, struct str name);
void topics_leave(struct topics *topics, struct subscription **list);

/* Sends to all but `except` (may be NULL), also those of other replicas. Returns to how many here.
 */
size_t topics_publish(struct topics *topics,
                      struct str name,
                      struct str data,
                      bool binary,
                      const struct websocket *except);
