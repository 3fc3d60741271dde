/* Exchanges whose response goes to a sink: requests that came over something else than HTTP, such
 * as a server process's link to its worker.
 *
 * The sink is told the response as it is sent: `head` once, then for a body that is made meanwhile
 * `write` any number of times and `end` or `abort`. The exchange is freed by its owner, which
 * drops a source that is still there.
 */
#pragma once

#include "http/exchange.h"

struct exchange_sink {
    /* Status and headers; the body is whole, or with `streamed` follows. */
    void (*head)(struct exchange *x, void *arg, bool streamed, size_t length);
    /* As exchange_stream_write(). */
    bool (*write)(void *arg, struct str bytes, void (*taken)(void *arg), void *taken_arg);
    void (*end)(void *arg);
    void (*abort)(void *arg);
};

/* All text is borrowed and must live as long as the exchange; `id` is NUL-terminated. */
struct exchange_request {
    struct str method, path, query, body, id, ip, scheme, authority;
};

struct exchange *exchange_link_new(const struct exchange_request *request,
                                   const struct exchange_sink *sink,
                                   void *arg);
/* `name` is lower-case; borrowed likewise. */
void exchange_link_add_header(struct exchange *x, struct str name, struct str value);
void exchange_link_free(struct exchange *x); /* NULL is fine */
/* The other side wants no more: a source is dropped. */
void exchange_link_drop(struct exchange *x);
