/* Bodies that are made while they are sent, over a request of h2o's.
 *
 * h2o takes one piece at a time and says when it wants the next: when the one before has left for
 * the kernel, or over HTTP/2 when the client's window allows. What the source writes meanwhile
 * waits in `out`, one write at most, so a slow reader never costs more than two pieces.
 */
#include "http/server_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"

/* A buffer larger than this is given back while the stream is idle. */
enum { KEEP_BYTES = 16 * 1024 };

struct h2o_stream {
    h2o_generator_t generator; /* first: proceed() casts back */
    struct h2o_exchange *hx;
    struct buf out;
    bool sending; /* h2o has a piece, or the head, and will ask for more */
    bool queued;  /* `out` is not with h2o yet */
    bool ending, aborting;
    void (*taken)(void *arg);
    void *taken_arg;
    struct post cut;
};

static void flush(struct h2o_stream *s)
{
    h2o_iovec_t piece = {s->out.data, s->out.len};
    const size_t pieces = s->queued && s->out.len ? 1 : 0;
    s->queued = false;
    s->sending = true;
    h2o_send(s->hx->req, &piece, pieces,
             s->ending ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

/* The client has taken what it was sent; the source may write, end or abort from inside this. */
static void tell_taken(struct h2o_stream *s)
{
    void (*taken)(void *arg) = s->taken;
    s->taken = NULL;
    buf_reset(&s->out);
    if (s->out.cap > KEEP_BYTES)
        buf_fini(&s->out);
    if (taken)
        taken(s->taken_arg);
}

static void cut_http2(struct h2o_stream *s)
{
    h2o_send(s->hx->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

static void proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct h2o_stream *s = (struct h2o_stream *)generator;
    (void)req;
    s->sending = false;
    if (s->aborting)
        cut_http2(s);
    else if (s->queued || s->ending)
        flush(s);
    else
        tell_taken(s);
}

/* The disposal of the exchange, which follows, tells the source. */
static void stop(h2o_generator_t *generator, h2o_req_t *req)
{
    (void)generator, (void)req;
}

/* Over HTTP/1 the end of the connection is what tells: the last chunk, or a part of the announced
 * length, is missing. Where the end of the connection would be the end of the body, it is reset.
 */
static void cut_http1(struct h2o_stream *s)
{
    h2o_req_t *req = s->hx->req;
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (req->version < 0x101 && req->res.content_length == SIZE_MAX)
        setsockopt(h2o_socket_get_fd(socket), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    connection_close(connection_of(socket));
}

static void cut(struct post *post)
{
    struct h2o_stream *s = H2O_STRUCT_FROM_MEMBER(struct h2o_stream, cut, post);
    if (s->hx->req->version < 0x200)
        cut_http1(s);
    else if (s->sending)
        s->aborting = true;
    else
        cut_http2(s);
}

void stream_start(struct h2o_exchange *hx)
{
    struct h2o_stream *s = mem_alloc(sizeof(*s));
    h2o_req_t *req = hx->req;
    hx->stream = s;
    s->hx = hx;
    s->generator = (h2o_generator_t){proceed, stop};
    s->cut.run = cut;
    req->res.content_length = hx->x.source->length;
    if (req->version < 0x101 && req->res.content_length == SIZE_MAX)
        req->http1_is_persistent = 0; /* nothing else would tell where it ends */
    waiting_watch(hx->server);
    h2o_start_response(req, &s->generator);
    flush(s); /* the head */
    hx->x.source->start(hx->x.source, &hx->x);
}

static struct h2o_stream *stream_of(struct exchange *x)
{
    return ((struct h2o_exchange *)x)->stream;
}

bool stream_write(struct exchange *x, struct str bytes, void (*taken)(void *arg), void *arg)
{
    struct h2o_stream *s = stream_of(x);
    assert(!s->taken && !s->ending);
    if (bytes.len == 0)
        return true;
    buf_add_str(&s->out, bytes);
    s->taken = taken;
    s->taken_arg = arg;
    s->queued = true;
    if (!s->sending)
        flush(s);
    return false;
}

void stream_end(struct exchange *x)
{
    struct h2o_stream *s = stream_of(x);
    waiting_end(s->hx);
    s->taken = NULL;
    s->ending = true;
    if (!s->sending)
        flush(s);
}

/* On a turn of its own: h2o may be in the middle of something with this very request. */
void stream_abort(struct exchange *x)
{
    struct h2o_stream *s = stream_of(x);
    waiting_end(s->hx);
    s->taken = NULL;
    loop_post(s->hx->server->loop, &s->cut);
}

void stream_fini(struct h2o_exchange *hx)
{
    struct h2o_stream *s = hx->stream;
    if (!s)
        return;
    loop_unpost(hx->server->loop, &s->cut);
    buf_fini(&s->out);
    free(s);
    hx->stream = NULL;
}
