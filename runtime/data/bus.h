/* The bus: what the replicas of one deployment tell each other, over Redis' pub/sub when there is
 * one, else over PostgreSQL's LISTEN and NOTIFY, else nothing, for this replica is alone.
 *
 * A message goes to all other replicas that hear just then, in the order in which a replica sent
 * its own, and to none of them twice; it is kept for nobody. Whoever needs more asks again when
 * told of `restored`: messages may have been missed. What is not a message is ignored, and told of
 * once. Bounded both ways: what does not fit is dropped, and the others are told that they missed
 * something as soon as that is possible.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct bus;
struct loop;
struct postgres;
struct redis;

enum { BUS_ID_MAX = 80, BUS_KIND_MAX = 32 }; /* with a NUL */

struct bus_options {
    struct loop *loop;
    struct redis *redis;       /* borrowed until bus_free(), like the next; NULL: none */
    struct postgres *postgres; /* when there is no Redis */
    void *app;
    /* Once an outage; BUS_MESSAGE, once: something is no message. This and the next may be NULL. */
    void (*on_problem)(void *app, const struct err *err);
    void (*on_restored)(void *app); /* after an outage */
};

struct bus *bus_new(const struct bus_options *options);
/* From now on it hears, and sends; before, messages go nowhere. Never fails: a database that is not
 * there is tried until it comes.
 */
void bus_start(struct bus *bus);
void bus_free(struct bus *bus); /* before its databases; NULL is fine */

/* The host's name and something random: of this process, and never of another one. Of
 * [A-Za-z0-9.-].
 */
const char *bus_id(const struct bus *bus);
bool bus_alone(const struct bus *bus); /* there is no database to find others by */
/* Whether it hears what is sent: its own messages came back lately, and since then nothing went
 * wrong. Only of use when it sends something every few seconds (data/roster.h does).
 */
bool bus_hears(const struct bus *bus);

/* `kind` is a word of [a-z0-9.-], the payload any bytes. False when it was dropped. With nobody to
 * tell it is done at once.
 */
bool bus_broadcast(struct bus *bus, const char *kind, struct str payload);
size_t bus_payload_max(const struct bus *bus); /* PostgreSQL takes some 5,900 bytes */

/* One who hears messages of one kind from the other replicas, the only one of that kind. The
 * caller's, until bus_unlisten(). The functions may do anything but free the bus; `restored` may
 * not end a listener.
 */
struct bus_listener {
    const char *kind;
    void (*heard)(struct bus_listener *listener, struct str from, struct str payload);
    /* From now on messages are heard, at first or again; or some were dropped. May be NULL. */
    void (*restored)(struct bus_listener *listener);

    struct bus_listener *next;
};

void bus_listen(struct bus *bus, struct bus_listener *listener);
void bus_unlisten(struct bus *bus, struct bus_listener *listener);
