/* The guard in front of h2o's readers.
 *
 * h2o calls h2o_socket_read_start() through its procedure linkage table, so the one defined here
 * is called instead, provided the program exports it. For a connection of ours it puts on_read()
 * in front of the reader it was given. So it is with h2o_socket_close(): with TLS the socket, and
 * what we know of it, outlive what h2o knows.
 *
 * Of HTTP/1, h2o is only ever shown one request at a time, and no part of a head before the whole
 * of it is found good: its input then never holds a byte that was not looked at, and its own parser
 * has nothing left to complain about. Bytes of pipelined requests wait in `later`.
 */
#include "http/http2.h"
#include "http/server_impl.h"

#include <dlfcn.h>

enum { LARGE_BODY = 256 * 1024, READ_ROOM = 4096 /* what h2o wants free before it reads */ };

typedef void read_start_fn(h2o_socket_t *socket, h2o_socket_cb read);
typedef void close_fn(h2o_socket_t *socket);

static read_start_fn *h2o_read_start(void)
{
    static read_start_fn *found;
    if (!found) {
        void *symbol = dlsym(RTLD_NEXT, "h2o_socket_read_start");
        memcpy(&found, &symbol, sizeof(found));
    }
    return found;
}

void guard_pass(h2o_socket_t *socket, h2o_socket_cb read)
{
    h2o_read_start()(socket, read);
}

void guard_close(h2o_socket_t *socket)
{
    static close_fn *found;
    if (!found) {
        void *symbol = dlsym(RTLD_NEXT, "h2o_socket_close");
        memcpy(&found, &symbol, sizeof(found));
    }
    found(socket);
}

bool guard_works(void)
{
    read_start_fn *ours = h2o_socket_read_start, *called;
    close_fn *our_close = h2o_socket_close, *called_close;
    void *symbol = dlsym(RTLD_DEFAULT, "h2o_socket_read_start");
    memcpy(&called, &symbol, sizeof(called));
    symbol = dlsym(RTLD_DEFAULT, "h2o_socket_close");
    memcpy(&called_close, &symbol, sizeof(called_close));
    return called == ours && h2o_read_start() && h2o_read_start() != ours &&
           called_close == our_close;
}

void h2o_socket_close(h2o_socket_t *socket)
{
    struct connection *c = connection_of(socket);
    if (c && c->state != CONNECTION_CLOSED)
        connection_ended(c);
    guard_close(socket);
}

void h2o_socket_read_start(h2o_socket_t *socket, h2o_socket_cb read)
{
    struct connection *c = connection_of(socket);
    if (c)
        guard_read_start(c, read);
    else
        guard_pass(socket, read);
}

/* Of the request whose head starts at `at`. */
static size_t body_limit(const struct connection *c, const char *at)
{
    const struct server_options *options = &c->server->options;
    const struct str target = {at + c->head.target.at, c->head.target.len};
    const size_t limit = options->body_limit_of ? options->body_limit_of(options->app, target) : 0;
    return limit ? limit : options->body_limit;
}

/* The scanners over bytes of the current request: all of it so far while in the head, only what
 * is new while in the body. `*used` is where the request ends, if it does.
 */
static bool scan(struct connection *c, const char *at, size_t len, size_t *used)
{
    size_t head = 0;
    enum scan_result result = SCAN_MORE;
    *used = len;
    if (c->state == CONNECTION_HEAD) {
        if ((result = head_scan(&c->head, at, len)) == SCAN_MORE)
            return true;
        if (result == SCAN_REFUSED) {
            connection_refuse(c, c->head.refusal);
            return false;
        }
        head = c->head.end;
        *used = head;
        c->state = CONNECTION_BODY;
        result = body_init(&c->body, &c->head, body_limit(c, at));
        if (result == SCAN_MORE)
            connection_arm(c);
    }
    if (result == SCAN_MORE) {
        result = body_scan(&c->body, at + head, len - head, used);
        c->body_seen += *used;
        *used += head;
    }
    if (result == SCAN_REFUSED) {
        connection_refuse(c, c->body.refusal);
        return false;
    }
    if (result == SCAN_DONE) {
        c->state = CONNECTION_SERVED;
        connection_disarm(c);
    }
    return true;
}

/* What is left of `later`, moved to its front. */
static void compact_later(struct connection *c)
{
    if (c->later_at == 0)
        return;
    c->later.len -= c->later_at;
    memmove(c->later.data, c->later.data + c->later_at, c->later.len);
    c->later_at = 0;
}

/* Moves what `input` holds behind `used` bytes to `later`. */
static void keep_later(struct connection *c, size_t used)
{
    h2o_buffer_t *input = c->socket->input;
    if (used == input->size)
        return;
    compact_later(c);
    buf_add(&c->later, input->bytes + used, input->size - used);
    input->size = used;
}

/* Hands h2o the next pipelined request, if its head is complete. */
static void take_from_later(struct connection *c)
{
    const char *at = c->later.data + c->later_at;
    size_t used;
    c->begun = true;
    if (!scan(c, at, c->later.len - c->later_at, &used) || c->state == CONNECTION_HEAD)
        return;
    h2o_iovec_t room = h2o_buffer_reserve(&c->socket->input, used);
    memcpy(room.base, at, used);
    c->socket->input->size += used;
    c->later_at += used;
    if (c->later_at == c->later.len) {
        buf_reset(&c->later);
        c->later_at = 0;
    }
}

/* A large body whose length is known: h2o would double its room again and again, and copy what is
 * there each time. What is not touched costs nothing.
 */
static void make_room(struct connection *c)
{
    const h2o_buffer_t *input = c->socket->input;
    if (c->state == CONNECTION_BODY && !c->body.chunked && input->size > LARGE_BODY &&
        input->capacity < input->size + c->body.left)
        h2o_buffer_reserve(&c->socket->input, c->body.left + READ_ROOM);
}

static void begin(struct connection *c)
{
    if (!c->begun) {
        c->begun = true;
        connection_arm(c);
    }
}

static void on_read(h2o_socket_t *socket, const char *failure)
{
    struct connection *c = connection_of(socket);
    if (failure) {
        c->read(socket, failure);
        return;
    }
    if (c->state == CONNECTION_HTTP2) {
        http2_read(c);
        return;
    }
    if (socket->bytes_read == 0) {
        input_give_back(socket);
        return;
    }
    begin(c);
    if (connection_has_later(c)) { /* the first part of this head */
        keep_later(c, 0);
        take_from_later(c);
    } else {
        size_t size = socket->input->size, used;
        size_t known = c->state == CONNECTION_HEAD ? 0 : size - socket->bytes_read;
        if (scan(c, socket->input->bytes + known, size - known, &used))
            keep_later(c, known + used);
    }
    make_room(c);
    if (c->state == CONNECTION_SERVED)
        input_fit(c->server, socket);
    if (c->state == CONNECTION_BODY || c->state == CONNECTION_SERVED)
        c->read(socket, NULL);
}

static void on_opaque_read(h2o_socket_t *socket, const char *failure)
{
    if (failure || socket->bytes_read > 0)
        connection_of(socket)->opaque(socket, failure);
    else
        input_give_back(socket);
}

void guard_early(struct connection *c)
{
    c->socket->bytes_read = c->socket->input->size;
    on_read(c->socket, NULL);
}

void guard_read_start(struct connection *c, h2o_socket_cb read)
{
    if (c->state == CONNECTION_HANDSHAKE || c->state == CONNECTION_CLOSED) {
        guard_pass(c->socket, read);
        return;
    }
    if (!c->read)
        c->read = read;
    if (read != c->read) { /* the connection was upgraded: its bytes are another protocol's */
        c->state = CONNECTION_OPAQUE;
        connection_disarm(c);
    }
    if (c->state == CONNECTION_OPAQUE) {
        c->opaque = read;
        if (!c->websocket || !websocket_paused(c->websocket))
            guard_pass(c->socket, on_opaque_read);
        else
            h2o_socket_read_stop(c->socket);
        return;
    }
    input_give_back(c->socket);
    guard_pass(c->socket, on_read);
    if (c->state == CONNECTION_HTTP2)
        return;
    /* h2o has used up its input: the next request begins. Else it waited to say 100 Continue. */
    if (c->state == CONNECTION_SERVED && c->socket->input->size == 0) {
        connection_await(c);
        if (connection_has_later(c))
            take_from_later(c);
    }
}
