/* Inside of struct exchange, shared by the files of http/ only.
 *
 * A transport embeds the struct as its first member, fills in `ops` and what it already knows of
 * the request, and leaves the rest to be asked for: most requests never have their headers
 * listed or their peer named.
 */
#pragma once

#include "base/buf.h"
#include "http/exchange.h"

struct exchange_ops {
    void *(*alloc)(struct exchange *x, size_t size);
    /* The header of that name behind `skip` others; until loaded. */
    struct str (*find)(const struct exchange *x, struct str name, size_t skip);
    void (*load)(struct exchange *x);      /* lists the headers with exchange_load_header() */
    void (*name_peer)(struct exchange *x); /* sets x->ip */
    void (*send)(struct exchange *x);
    bool (*write)(struct exchange *x, struct str bytes, void (*taken)(void *arg), void *arg);
    void (*end)(struct exchange *x);
    void (*abort)(struct exchange *x);
};

struct header_list {
    struct header *at;
    size_t count, cap;
};

enum { EXCHANGE_FIRST_HEADERS = 6 };

struct exchange {
    const struct exchange_ops *ops;
    void (*gone)(struct exchange *x, void *owner);
    void *owner;
    struct str id, method, path, query, body, scheme, authority, ip, token;
    struct header_list req, res;
    struct str res_body;
    struct buf taken; /* what res_body may be part of */
    unsigned status;
    bool loaded; /* the request's headers are in `req` */
    bool has_response;
    bool sent;
    bool failed; /* its stream was aborted */
    struct exchange_source *source;
    struct header first[EXCHANGE_FIRST_HEADERS]; /* of the response; not cleared by anybody */
};

struct str exchange_copy(struct exchange *x, struct str s);
void exchange_drop_source(struct exchange *x);

/* What is not in the exchange's own memory goes; so does the body. */
void exchange_fini(struct exchange *x);

/* Whether the response goes without a body, whatever it says. */
bool exchange_bodiless(const struct exchange *x);

void exchange_load_header(struct exchange *x, struct str name, struct str value); /* borrowed */

void exchange_add_header(struct exchange *x, struct str name, struct str value); /* copied */

/* The request target to path and query; false when it is not one the server accepts. */
bool exchange_set_target(struct exchange *x, struct str target);

/* A client's own X-Request-Id counts if it is 1–128 of [A-Za-z0-9._-]. */
bool request_id_valid(struct str id);
