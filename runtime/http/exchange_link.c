#include "http/exchange_link.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "http/exchange_impl.h"

struct link_exchange {
    struct exchange x;
    struct arena arena;
    const struct exchange_sink *sink;
    void *arg;
};

static struct link_exchange *link_of(struct exchange *x)
{
    return (struct link_exchange *)x;
}

static void *alloc(struct exchange *x, size_t size)
{
    return arena_alloc(&link_of(x)->arena, size);
}

/* Headers are listed from the start and the peer is known: these are never asked. */
static struct str find_nothing(const struct exchange *x, struct str name, size_t skip)
{
    (void)x, (void)name, (void)skip;
    return (struct str){0};
}

static void load_nothing(struct exchange *x)
{
    (void)x;
}

static void send_response(struct exchange *x)
{
    struct link_exchange *l = link_of(x);
    struct exchange_source *source;

    if (x->source && x->source->upgrade)
        exchange_drop_source(x);
    source = x->source;
    if (exchange_bodiless(x)) {
        const size_t length = source ? source->length : x->res_body.len;
        exchange_drop_source(x);
        x->res_body = (struct str){0};
        l->sink->head(x, l->arg, false, length);
    } else if (source) {
        l->sink->head(x, l->arg, true, source->length);
        source->start(source, x);
    } else {
        l->sink->head(x, l->arg, false, x->res_body.len);
    }
}

static bool write_piece(struct exchange *x, struct str bytes, void (*taken)(void *arg), void *arg)
{
    return link_of(x)->sink->write(link_of(x)->arg, bytes, taken, arg);
}

static void end_stream(struct exchange *x)
{
    link_of(x)->sink->end(link_of(x)->arg);
}

static void abort_stream(struct exchange *x)
{
    link_of(x)->sink->abort(link_of(x)->arg);
}

static const struct exchange_ops link_ops = {
    .alloc = alloc,
    .find = find_nothing,
    .load = load_nothing,
    .name_peer = load_nothing,
    .send = send_response,
    .write = write_piece,
    .end = end_stream,
    .abort = abort_stream,
};

struct exchange *exchange_link_new(const struct exchange_request *request,
                                   const struct exchange_sink *sink,
                                   void *arg)
{
    struct link_exchange *l = mem_alloc(sizeof(*l));
    struct exchange *x = &l->x;

    l->sink = sink;
    l->arg = arg;
    x->ops = &link_ops;
    x->loaded = true;
    x->method = request->method;
    x->path = request->path;
    x->query = request->query;
    x->body = request->body;
    x->id = request->id;
    x->ip = request->ip;
    x->scheme = request->scheme;
    x->authority = request->authority;
    return x;
}

void exchange_link_add_header(struct exchange *x, struct str name, struct str value)
{
    exchange_load_header(x, name, value);
}

void exchange_link_drop(struct exchange *x)
{
    exchange_drop_source(x);
}

void exchange_link_free(struct exchange *x)
{
    if (!x)
        return;
    exchange_fini(x);
    arena_fini(&link_of(x)->arena);
    free(x);
}
