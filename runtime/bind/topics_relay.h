/* Topics between replicas: what is published here goes to the others, and what they publish comes
 * out here. What one turn of the loop publishes goes as one message of the bus, or a few; what the
 * bus does not take is lost to the others, which the log says. Private to topics.c.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"
#include "data/bus.h"
#include "ev/loop.h"

struct published {
    struct str topic, data;
    bool binary;
};

struct topics_relay {
    struct loop *loop;
    struct bus *bus; /* NULL: there are no others */
    struct bus_listener listener;
    struct post post;
    struct buf out; /* published in this turn */
    bool lossy;     /* the bus did not take the last one, and that was logged */
    void (*heard)(struct topics_relay *relay, const struct published *published);
};

/* `heard` is set, and so are `loop` and `bus`. */
void topics_relay_start(struct topics_relay *relay);
void topics_relay_stop(struct topics_relay *relay);

void topics_relay_publish(struct topics_relay *relay, const struct published *published);

/* --- a message of the bus: one after the other --- */

void topics_write(struct buf *out, const struct published *published);

/* Takes the first off the front of `rest`, which it borrows. False at its end, and where it makes
 * no sense.
 */
bool topics_read(struct str *rest, struct published *published);
