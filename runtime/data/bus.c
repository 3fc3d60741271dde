#include "data/bus.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "data/bus_impl.h"

/* The kind of message that says: you have missed some. */
static const char missed[] = "missed";

/* --- what is heard --- */

static void tell_odd(struct bus *bus)
{
    struct err err;

    if (bus->odd || !bus->options.on_problem)
        return;
    bus->odd = true;
    err_set(&err, "BUS_MESSAGE",
            "something on the replicas' channel is no message of this version; it is ignored, and "
            "further ones are without a word");
    bus->options.on_problem(bus->options.app, &err);
}

static void tell_restored(struct bus *bus)
{
    bus->restored = false;
    for (struct bus_listener *l = bus->listeners; l; l = l->next) {
        if (l->restored)
            l->restored(l);
    }
}

static void hear(struct bus *bus, struct str message)
{
    struct bus_frame frame;
    struct bus_listener *l = bus->listeners;

    if (!bus_frame_read(message, &frame)) {
        tell_odd(bus);
        return;
    }
    if (str_equal(frame.from, str_of(bus->id)))
        return;
    if (str_equal(frame.kind, str_of(missed)))
        bus->restored = true;
    while (l && !str_equal(str_of(l->kind), frame.kind))
        l = l->next;
    if (l)
        l->heard(l, frame.from, frame.payload);
}

static struct bus_message *take(struct bus *bus)
{
    struct bus_message *message = bus->first;

    if (message) {
        bus->first = message->next;
        if (!bus->first)
            bus->last = &bus->first;
        bus->in_bytes -= sizeof(*message) + message->len;
    }
    return message;
}

static void run(struct post *post)
{
    struct bus *bus = (struct bus *)((char *)post - offsetof(struct bus, hear));

    for (unsigned i = 0; i < BUS_TURN && bus->first; i++) {
        struct bus_message *message = take(bus);

        hear(bus, (struct str){message->bytes, message->len});
        free(message);
    }
    if (bus->restored)
        tell_restored(bus);
    if (bus->first)
        loop_post(bus->options.loop, &bus->hear);
}

/* Whether it is this replica's own; the time is noted when the message comes, not when it is heard.
 */
static bool is_echo(const struct bus *bus, struct str message)
{
    struct bus_frame frame;

    return bus_frame_read(message, &frame) && str_equal(frame.from, str_of(bus->id));
}

static void all_is_well(struct bus *bus)
{
    bus->echo_ms = clock_now_ns() / 1000000;
    if (bus->problem && bus->options.on_restored)
        bus->options.on_restored(bus->options.app);
    bus->problem = false;
}

void bus_heard(struct bus *bus, struct str bytes)
{
    struct bus_message *message;

    if (is_echo(bus, bytes)) {
        all_is_well(bus);
        return;
    }
    loop_post(bus->options.loop, &bus->hear);
    if (sizeof(*message) + bytes.len > BUS_IN_BYTES - bus->in_bytes) {
        bus->restored = true;
        return;
    }
    message = mem_alloc(sizeof(*message) + bytes.len);
    message->next = NULL;
    message->len = bytes.len;
    memcpy(message->bytes, bytes.at, bytes.len);
    *bus->last = message;
    bus->last = &message->next;
    bus->in_bytes += sizeof(*message) + bytes.len;
}

void bus_restored(struct bus *bus)
{
    bus->restored = true;
    loop_post(bus->options.loop, &bus->hear);
    all_is_well(bus);
}

void bus_problem(struct bus *bus, const char *code, const char *message)
{
    struct err err;

    if (bus->problem)
        return;
    bus->problem = true;
    err_set(&err, code, "the other replicas cannot be reached: %s", message);
    if (bus->options.on_problem)
        bus->options.on_problem(bus->options.app, &err);
}

/* --- what is sent --- */

static bool send(struct bus *bus, const char *kind, struct str payload)
{
    struct buf message = {0};
    const struct bus_frame frame = {str_of(bus->id), str_of(kind), payload};

    bool room = payload.len <= bus_payload_max(bus) && bus->out < BUS_OUT_MAX;

    if (!room)
        return false;
    bus_frame_write(&message, &frame);
    room = message.len <= BUS_OUT_BYTES - bus->out_bytes;
    if (room) {
        bus->out++;
        bus->out_bytes += message.len;
        bus->way->send(bus->state, buf_str(&message));
    }
    buf_fini(&message);
    return room;
}

void bus_sent(struct bus *bus, size_t len, bool ok)
{
    bus->out--;
    bus->out_bytes -= len;
    if (!ok) {
        bus->owes = true;
    } else if (bus->owes) {
        bus->owes = false; /* unless that one is lost too */
        if (!send(bus, missed, STR("")))
            bus->owes = true;
    }
}

bool bus_broadcast(struct bus *bus, const char *kind, struct str payload)
{
    assert(strlen(kind) < BUS_KIND_MAX);
    if (bus_alone(bus) || !bus->started)
        return true;
    if (send(bus, kind, payload))
        return true;
    bus->owes = true;
    return false;
}

size_t bus_payload_max(const struct bus *bus)
{
    return (bus->way ? bus->way->message_max : BUS_MESSAGE_MAX) - BUS_ID_MAX - BUS_KIND_MAX - 16;
}

/* --- listeners --- */

void bus_listen(struct bus *bus, struct bus_listener *listener)
{
    listener->next = bus->listeners;
    bus->listeners = listener;
}

void bus_unlisten(struct bus *bus, struct bus_listener *listener)
{
    struct bus_listener **slot = &bus->listeners;

    while (*slot && *slot != listener)
        slot = &(*slot)->next;
    if (*slot)
        *slot = listener->next;
}

/* --- the whole --- */

const char *bus_id(const struct bus *bus)
{
    return bus->id;
}

bool bus_alone(const struct bus *bus)
{
    return !bus->way;
}

bool bus_hears(const struct bus *bus)
{
    return bus->way && !bus->problem && bus->echo_ms > 0 &&
           clock_now_ns() / 1000000 - bus->echo_ms < BUS_ECHO_MS;
}

struct bus *bus_new(const struct bus_options *options)
{
    struct bus *bus = mem_alloc(sizeof(*bus));

    bus->options = *options;
    bus->last = &bus->first;
    bus->hear.run = run;
    bus_make_id(bus->id);
    bus->way = options->redis ? &bus_redis : options->postgres ? &bus_postgres : NULL;
    return bus;
}

void bus_start(struct bus *bus)
{
    if (!bus->way || bus->started)
        return;
    bus->started = true;
    bus->state = bus->way->start(bus);
}

void bus_free(struct bus *bus)
{
    struct bus_message *message;

    if (!bus)
        return;
    if (bus->started)
        bus->way->stop(bus->state);
    loop_unpost(bus->options.loop, &bus->hear);
    while ((message = take(bus)))
        free(message);
    free(bus);
}
