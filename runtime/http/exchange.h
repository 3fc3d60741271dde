/* One request and the response to it, whatever it came over.
 *
 * The server makes an exchange for each request and hands it to `on_request`. The receiver
 * fills in a response and calls exchange_send() exactly once; after that the exchange must not
 * be touched. If the peer goes first, `gone` is called and the exchange is dead: no send.
 * A memory exchange is the same without a socket (tests, `buntime run`).
 *
 * All text returned is borrowed and lives as long as the exchange. Text set is copied. Header
 * names are lower-case; a header that header_valid() refuses is not added, a path that the
 * server would not accept is not set. The request side may be changed (hooks do): what is set is
 * what later readers get. Knows neither Lua nor plugins; only http/ sees h2o.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct buf;

struct exchange;

struct header {
    struct str name, value;
};

/* Whether `name` is a token and `value` free of control bytes: callers that can complain ask. */
bool header_valid(struct str name, struct str value);

/* --- request --- */
struct str exchange_id(const struct exchange *x); /* also NUL-terminated */
struct str exchange_method(const struct exchange *x);
struct str exchange_path(const struct exchange *x);  /* normalised, escaped, without query */
struct str exchange_query(const struct exchange *x); /* without '?'; absent if there is none */
struct str exchange_body(const struct exchange *x);
struct str exchange_ip(const struct exchange *x);        /* numeric peer address */
struct str exchange_scheme(const struct exchange *x);    /* "http" or "https" */
struct str exchange_authority(const struct exchange *x); /* Host */
size_t exchange_header_count(const struct exchange *x);
struct header exchange_header_at(const struct exchange *x, size_t i);
struct str exchange_header(const struct exchange *x, struct str name); /* first; absent if none */
struct str exchange_header_after(const struct exchange *x, struct str name, size_t skip);

void exchange_set_method(struct exchange *x, struct str method);
void exchange_set_path(struct exchange *x, struct str path);
void exchange_set_query(struct exchange *x, struct str query); /* absent removes it */
void exchange_set_body(struct exchange *x, struct str body);
void exchange_set_header(struct exchange *x, struct str name, struct str value); /* replaces */
void exchange_remove_header(struct exchange *x, struct str name);

/* What the request is to be trusted by, taken out of the headers so that no reader of those sees
 * it; absent until it is set.
 */
struct str exchange_token(const struct exchange *x);
void exchange_set_token(struct exchange *x, struct str token);

/* --- response; nothing is sent before exchange_send() --- */
void exchange_respond(struct exchange *x, unsigned status); /* starts over: no headers, no body */
bool exchange_has_response(const struct exchange *x);
unsigned exchange_status(const struct exchange *x);
void exchange_set_status(struct exchange *x, unsigned status);
size_t exchange_res_header_count(const struct exchange *x);
struct header exchange_res_header_at(const struct exchange *x, size_t i);
void exchange_res_add_header(struct exchange *x, struct str name, struct str value);
void exchange_res_set_header(struct exchange *x, struct str name, struct str value);
void exchange_res_remove_header(struct exchange *x, struct str name);
struct str exchange_res_body(const struct exchange *x);
void exchange_res_set_body(struct exchange *x, struct str body);
/* Without a copy: `bytes` are the exchange's from now on, and `part` of them is the body. */
void exchange_res_take_body(struct exchange *x, struct buf *bytes, struct str part);

/* A body that is made while it is sent, in place of the response's body. It is its maker's; the
 * exchange holds a pointer until it has called `drop` (never sent, or the client is gone) or until
 * the source itself has called exchange_stream_end() or _abort(). Then neither may touch the
 * other again.
 */
struct exchange_source {
    size_t length; /* SIZE_MAX: not known before its end */
    bool upgrade;  /* no body but another protocol: for status 101, `start` then upgrades */
    void (*start)(struct exchange_source *source, struct exchange *x); /* the head is on its way */
    void (*drop)(struct exchange_source *source);
};

/* NULL takes it away without calling it. Setting a body, or starting the response over, drops it;
 * so does sending a response that has no body (HEAD, 204, 304).
 */
void exchange_res_set_source(struct exchange *x, struct exchange_source *source);

/* For a source that was started. Copies `bytes`. True: they were taken; false: `taken` is called
 * later, when the client has taken them so far that more may come. One write at a time.
 */
bool exchange_stream_write(struct exchange *x,
                           struct str bytes,
                           void (*taken)(void *arg),
                           void *arg);
void exchange_stream_end(struct exchange *x);
void exchange_stream_abort(struct exchange *x); /* so that the client sees that a part is missing */
bool exchange_stream_failed(const struct exchange *x); /* a memory exchange's was aborted */

/* Sends the response with x-request-id added. HEAD is sent without its body. */
void exchange_send(struct exchange *x);

/* The error shape of the control plane and the runtime's own answers:
 * {"success":false,"code":…,"message":…,"requestId":…[,"traceback":…]}; traceback may be NULL.
 */
void exchange_respond_error(struct exchange *x,
                            unsigned status,
                            const char *code,
                            const char *message,
                            const char *traceback);

/* Memory that goes with the exchange, zeroed. */
void *exchange_alloc(struct exchange *x, size_t size);

/* The receiver's own pointer, and what to call when the peer goes before the answer. */
void exchange_watch(struct exchange *x, void (*gone)(struct exchange *x, void *owner), void *owner);
void *exchange_owner(const struct exchange *x);

/* --- memory exchanges --- */
struct exchange_init {
    struct str method, target; /* target: path with optional query */
    struct str body;
    const struct header *headers;
    size_t header_count;
    struct str ip, id; /* absent: 127.0.0.1 and a new one */
    void *arg;         /* for on_send; NULL: it gets the owner */
    size_t max_pieces; /* of a stream: after so many the client goes; 0: it stays to the end */
};

/* NULL if the target is not a path the server would accept. `on_send` may be NULL; the
 * exchange then only keeps its response. A streamed body is collected, and `on_send` called at
 * its end. Freed by exchange_free(), which drops a source that is still there.
 */
struct exchange *exchange_new(const struct exchange_init *init,
                              void (*on_send)(struct exchange *x, void *owner));
void exchange_free(struct exchange *x);
