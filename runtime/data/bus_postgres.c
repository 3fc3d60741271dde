/* Messages over PostgreSQL's LISTEN and NOTIFY, as base64, for a payload is text of less than 8,000
 * bytes. A channel is its database's own.
 */
#include <stdlib.h>

#include "base/base64.h"
#include "base/mem.h"
#include "data/bus_impl.h"
#include "data/postgres.h"
#include "data/sqlite_value.h"

enum { NOTIFY_MAX = 7999, MESSAGE_MAX = NOTIFY_MAX / 4 * 3 };

static const char channel[] = "buntime_bus";
static const char notify[] = "select pg_notify($1, $2)";

struct over_postgres {
    struct postgres_listener listener; /* first: its functions cast back */
    struct timer again;
    struct bus *bus; /* NULL: stopped, and freed with the last message */
    bool listening;
    unsigned sending;
};

struct sending {
    struct postgres_request request; /* first: sent() casts back */
    struct over_postgres *over;
    size_t len;
};

/* --- hearing --- */

static void settled(struct postgres_listener *listener, const struct postgres_error *error)
{
    struct over_postgres *over = (struct over_postgres *)listener;

    over->listening = !error;
    if (!error) {
        bus_restored(over->bus);
        return;
    }
    bus_problem(over->bus, error->code, error->message);
    timer_start(over->bus->options.loop, &over->again, BUS_AGAIN_MS);
}

/* What is no base64 is told of as any message that is none. */
static void heard(struct postgres_listener *listener, const char *payload, size_t len)
{
    struct bus *bus = ((struct over_postgres *)listener)->bus;
    char *bytes = mem_alloc(len / 4 * 3 + 4);
    size_t got;

    if (base64_decode((struct str){payload, len}, false, bytes, &got))
        bus_heard(bus, (struct str){bytes, got});
    else
        bus_heard(bus, (struct str){payload, len});
    free(bytes);
}

static void restored(struct postgres_listener *listener)
{
    bus_restored(((struct over_postgres *)listener)->bus);
}

static void start_listening(struct over_postgres *over)
{
    over->listener.channel = channel;
    over->listener.settled = settled;
    over->listener.heard = heard;
    over->listener.restored = restored;
    over->listening = true;
    postgres_listen(over->bus->options.postgres, &over->listener);
}

static void listen_again(struct timer *timer)
{
    start_listening(
        (struct over_postgres *)((char *)timer - offsetof(struct over_postgres, again)));
}

/* --- sending --- */

static void unref(struct over_postgres *over)
{
    if (!over->bus && over->sending == 0)
        free(over);
}

static void sent(struct postgres_request *request)
{
    struct sending *sending = (struct sending *)request;
    struct over_postgres *over = sending->over;
    const size_t len = sending->len;
    const bool ok = request->ok;

    if (over->bus && !ok)
        bus_problem(over->bus, request->error.code, request->error.message);
    postgres_request_fini(request);
    free(sending);
    over->sending--;
    if (over->bus)
        bus_sent(over->bus, len, ok);
    unref(over);
}

static void put_values(struct buf *out, struct str message)
{
    const size_t len = BASE64_SIZE(message.len);
    char *text = mem_alloc(len + 1);
    struct sql_value value = {.type = SQL_TEXT, .bytes = str_of(channel)};

    sql_put(out, &value);
    value.bytes = (struct str){text, base64_encode(message, false, text)};
    sql_put(out, &value);
    free(text);
}

static void send(void *state, struct str message)
{
    struct over_postgres *over = state;
    struct sending *sending = mem_alloc(sizeof(*sending));
    struct postgres_request *r = &sending->request;

    sending->over = over;
    sending->len = message.len;
    r->verb = POSTGRES_EXEC;
    r->sql = mem_copy(notify);
    r->sql_len = sizeof(notify) - 1;
    put_values(&r->values, message);
    r->value_count = 2;
    r->done = sent;
    over->sending++;
    postgres_submit(over->bus->options.postgres, r);
}

/* --- the whole --- */

static void *start(struct bus *bus)
{
    struct over_postgres *over = mem_alloc(sizeof(*over));

    over->bus = bus;
    over->again.fire = listen_again;
    start_listening(over);
    return over;
}

/* What is on its way still goes out. */
static void stop(void *state)
{
    struct over_postgres *over = state;

    timer_stop(&over->again);
    if (over->listening)
        postgres_unlisten(&over->listener);
    over->bus = NULL;
    unref(over);
}

const struct bus_way bus_postgres = {start, stop, send, MESSAGE_MAX};
