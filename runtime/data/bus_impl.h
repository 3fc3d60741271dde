/* What bus*.c share. Not for other folders, except tests. */
#pragma once

#include "base/buf.h"
#include "data/bus.h"
#include "ev/loop.h"

enum {
    BUS_OUT_MAX = 10000,       /* messages that are on their way to the database */
    BUS_OUT_BYTES = 16 << 20,  /* of these */
    BUS_IN_BYTES = 16 << 20,   /* that wait to be heard, with what keeps them */
    BUS_TURN = 256,            /* messages heard in one turn of the loop */
    BUS_MESSAGE_MAX = 4 << 20, /* bytes, also with its head */
    BUS_AGAIN_MS = 1000,       /* until a subscription that failed is tried again */
    BUS_ECHO_MS = 8000,        /* so long may one's own messages stay out */
};

/* How messages travel. `state` is its own. */
struct bus_way {
    void *(*start)(struct bus *bus);
    void (*stop)(void *state);
    void (*send)(void *state, struct str message); /* then bus_sent() once, on a later turn */
    size_t message_max;
};

extern const struct bus_way bus_redis, bus_postgres;

struct bus_message {
    struct bus_message *next;
    size_t len;
    char bytes[];
};

struct bus {
    struct bus_options options;
    char id[BUS_ID_MAX];
    const struct bus_way *way; /* NULL: alone */
    void *state;
    bool started;
    struct bus_listener *listeners;

    struct bus_message *first, **last; /* that wait to be heard */
    size_t in_bytes;
    unsigned out;
    size_t out_bytes;
    struct post hear;
    bool restored;    /* to be told */
    bool owes;        /* a message was lost: the others are to know */
    bool problem;     /* and it was told */
    bool odd;         /* something that is no message was told of */
    uint64_t echo_ms; /* when one of its own was heard last */
};

/* --- bus.c, for the ways --- */
void bus_heard(struct bus *bus, struct str message); /* copies; tells later */
void bus_restored(struct bus *bus);
void bus_problem(struct bus *bus, const char *code, const char *message);
void bus_sent(struct bus *bus, size_t len, bool ok);

/* --- bus_frame.c: pure --- */
struct bus_frame {
    struct str from, kind, payload;
};

void bus_frame_write(struct buf *out, const struct bus_frame *frame);
bool bus_frame_read(struct str bytes, struct bus_frame *frame);
void bus_make_id(char id[static BUS_ID_MAX]);
