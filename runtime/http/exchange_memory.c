/* Exchanges without a socket, for tests and `buntime run`. */
#include "http/exchange_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"

struct memory_exchange {
    struct exchange x;
    struct arena arena;
    void (*on_send)(struct exchange *x, void *owner);
    void *arg;
    struct buf body; /* of a stream */
    size_t pieces, max_pieces;
};

static void *alloc(struct exchange *x, size_t size)
{
    return arena_alloc(&((struct memory_exchange *)x)->arena, size);
}

static void tell_sent(struct memory_exchange *m)
{
    if (m->on_send)
        m->on_send(&m->x, m->arg ? m->arg : m->x.owner);
}

static void send_nowhere(struct exchange *x)
{
    if (x->source && x->source->upgrade)
        exchange_drop_source(x);
    if (exchange_bodiless(x)) {
        exchange_drop_source(x);
        x->res_body = (struct str){0};
    }
    if (x->source)
        x->source->start(x->source, x);
    else
        tell_sent((struct memory_exchange *)x);
}

static void end_stream(struct exchange *x)
{
    struct memory_exchange *m = (struct memory_exchange *)x;
    x->res_body = buf_str(&m->body);
    tell_sent(m);
}

static bool collect(struct exchange *x, struct str bytes, void (*taken)(void *arg), void *arg)
{
    struct memory_exchange *m = (struct memory_exchange *)x;
    (void)taken, (void)arg;
    buf_add_str(&m->body, bytes);
    if (++m->pieces == m->max_pieces) {
        exchange_drop_source(x);
        end_stream(x);
    }
    return true;
}

/* Its headers are listed from the start, so these two are never asked. */
static void load_nothing(struct exchange *x)
{
    (void)x;
}

static struct str find_nothing(const struct exchange *x, struct str name, size_t skip)
{
    (void)x, (void)name, (void)skip;
    return (struct str){0};
}

static void name_peer(struct exchange *x)
{
    x->ip = STR("127.0.0.1");
}

static const struct exchange_ops memory_ops = {
    .alloc = alloc,
    .find = find_nothing,
    .load = load_nothing,
    .name_peer = name_peer,
    .send = send_nowhere,
    .write = collect,
    .end = end_stream,
    .abort = end_stream,
};

static void add_headers(struct exchange *x, const struct exchange_init *init)
{
    x->loaded = true;
    for (size_t i = 0; i < init->header_count; i++)
        exchange_add_header(x, init->headers[i].name, init->headers[i].value);
    x->authority = exchange_header(x, STR("host"));
    if (!x->authority.at)
        exchange_set_header(x, STR("host"), STR("localhost"));
}

static void set_id(struct exchange *x, struct str id)
{
    struct random_pool pool = {.left = 0};
    char uuid[UUID_SIZE];
    if (!id.at)
        id = exchange_header(x, STR("x-request-id"));
    if (!request_id_valid(id)) {
        uuid_v4(&pool, uuid);
        id = str_of(uuid);
    }
    x->id = exchange_copy(x, id);
}

struct exchange *exchange_new(const struct exchange_init *init,
                              void (*on_send)(struct exchange *x, void *owner))
{
    struct memory_exchange *m = mem_alloc(sizeof(*m));
    struct exchange *x = &m->x;
    x->ops = &memory_ops;
    m->on_send = on_send;
    m->arg = init->arg;
    m->max_pieces = init->max_pieces;
    if (!exchange_set_target(x, exchange_copy(x, init->target))) {
        exchange_free(x);
        return NULL;
    }
    x->method = exchange_copy(x, init->method.at ? init->method : STR("GET"));
    x->scheme = STR("http");
    x->ip = exchange_copy(x, init->ip.at ? init->ip : STR("127.0.0.1"));
    add_headers(x, init);
    set_id(x, init->id);
    if (init->body.at)
        exchange_set_body(x, init->body);
    return x;
}

void exchange_free(struct exchange *x)
{
    if (!x)
        return;
    struct memory_exchange *m = (struct memory_exchange *)x;
    exchange_fini(x);
    arena_fini(&m->arena);
    buf_fini(&m->body);
    free(m);
}
