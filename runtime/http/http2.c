#include "http/http2.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/frames.h"
#include "http/h2o_http2.h"
#include "http/http2_head.h"

enum {
    TICKS = 4, /* in a time-out */

    /* Slower than this, over a whole time-out, a body or a reader counts as stalled. */
    BYTES_A_SECOND = 1024,

    READER_SHARE = 16, /* a reader may be so much slower */

    SWALLOW_MAX = 64 * 1024 * 1024, /* of refused bodies, on one connection */
    STALLS_MAX = 128,

    ENHANCE_YOUR_CALM = 11,
    CANCEL = 8,
};

/* A response of which nothing can be sent. */
struct stall {
    uint32_t stream;
    unsigned ticks;
    uint64_t sent;
};

struct http2 {
    struct frames frames;
    size_t held;      /* bytes of a frame header at the end of the input, not looked at yet */
    uint64_t written; /* bytes, when we last looked */
    size_t swallowed;
    unsigned partial_ticks; /* so long it has been within one frame or header block */
    uint64_t partial_mark;
    uint64_t sent_mark;
    uint32_t refusing; /* the stream that is being refused, and why */
    const struct refusal *refusal;
    uint32_t trailers_of;
    size_t headers_before_trailers;
    size_t stall_count;
    struct stall stalls[STALLS_MAX];
};

static const struct refusal too_large = {413, "BODY_TOO_LARGE", "the request body is too large"};
static const struct refusal too_slow = {408, "REQUEST_TIMEOUT", "the request took too long"};

static h2o_http2_conn_t *conn_of(const struct connection *c)
{
    return c->socket->data;
}

/* --- ending a connection --- */

/* Nothing is left of the connection afterwards but, for a moment, a socket that says goodbye. */
void http2_close(struct connection *c)
{
    h2o_http2_conn_t *conn = conn_of(c);
    h2o_timeout_unlink(&conn->_write.timeout_entry);
    if (!conn->_write.buf_in_flight) {
        c->read(c->socket, h2o_socket_error_closed);
        return;
    }
    /* h2o would wait until what it is writing is through */
    conn->state = H2O_HTTP2_CONN_STATE_IS_CLOSING;
    h2o_socket_read_stop(c->socket);
    c->socket->_cb.write(c->socket, h2o_socket_error_io);
}

static void cut(struct connection *c, uint32_t error, const char *why)
{
    h2o_http2_conn_t *conn = conn_of(c);
    if (conn->_write.buf_in_flight || conn->state != H2O_HTTP2_CONN_STATE_OPEN) {
        http2_close(c);
        return;
    }
    const h2o_iovec_t text = {(char *)(uintptr_t)why, strlen(why)};
    h2o_http2_encode_goaway_frame(&conn->_write.buf, conn->pull_stream_ids.max_open, -(int)error,
                                  text);
    h2o_http2_conn_request_write(conn);
    c->read(c->socket, h2o_socket_error_closed); /* it writes what it has, then closes */
}

/* --- answering while the body comes in --- */

/* h2o runs the request as if it were complete; http2_begin() has it refused. */
static void refuse(struct connection *c, uint32_t id, const struct refusal *refusal)
{
    struct http2 *h = c->http2;
    h2o_http2_conn_t *conn = conn_of(c);
    h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(conn, id);
    struct upload *upload = frames_upload(&h->frames, id);
    if (upload)
        upload->refused = true;
    if (!stream || stream->state != H2O_HTTP2_STREAM_STATE_RECV_BODY ||
        conn->state >= H2O_HTTP2_CONN_STATE_IS_CLOSING)
        return;
    h->refusing = id;
    h->refusal = refusal;
    h2o_timeout_unlink(&conn->_timeout_entry); /* h2o runs it while nothing is answered */
    h2o_http2_stream_set_state(conn, stream, H2O_HTTP2_STREAM_STATE_REQ_PENDING);
    h2o_http2_stream_set_state(conn, stream, H2O_HTTP2_STREAM_STATE_SEND_HEADERS);
    h2o_process_request(&stream->req);
}

void http2_refused(struct connection *c, h2o_req_t *req)
{
    h2o_http2_conn_t *conn = conn_of(c);
    h2o_http2_stream_t *stream = H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req);
    if (conn->state != H2O_HTTP2_CONN_STATE_OPEN)
        return;
    h2o_http2__encode_rst_stream_frame(&conn->_write.buf, stream->stream_id, 0);
    h2o_http2_conn_request_write(conn);
}

/* Frames that h2o does not get to see have used up their share of the window all the same. */
static void account_swallowed(struct connection *c)
{
    struct http2 *h = c->http2;
    h2o_http2_conn_t *conn = conn_of(c);
    const size_t n = h->frames.swallowed;
    h->frames.swallowed = 0;
    h->swallowed += n;
    if (n == 0 || conn->state >= H2O_HTTP2_CONN_STATE_IS_CLOSING)
        return;
    h2o_http2_window_consume_window(&conn->_input_window, n);
    const ssize_t left = h2o_http2_window_get_window(&conn->_input_window);
    const ssize_t whole = (ssize_t)H2O_HTTP2_SETTINGS_HOST.initial_window_size;
    if (left * 2 >= whole)
        return;
    h2o_http2_encode_window_update_frame(&conn->_write.buf, 0, (int32_t)(whole - left));
    h2o_http2_conn_request_write(conn);
    h2o_http2_window_update(&conn->_input_window, whole - left);
}

static void look_at_new_uploads(struct connection *c)
{
    struct http2 *h = c->http2;
    struct frames *f = &h->frames;
    for (uint32_t i = 0; i < f->upload_count; i++) {
        struct upload *upload = &f->uploads[i];
        if (!upload->fresh)
            continue;
        h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(conn_of(c), upload->stream);
        if (f->in_block && f->block_stream == upload->stream)
            continue; /* its head is not complete */
        upload->fresh = false;
        if (!stream || stream->state != H2O_HTTP2_STREAM_STATE_RECV_BODY)
            upload->refused = true; /* by h2o */
        else if (stream->_expected_content_length != SIZE_MAX &&
                 stream->_expected_content_length > f->body_limit)
            refuse(c, upload->stream, &too_large);
    }
}

/* --- reading --- */

static uint64_t error_count(const struct connection *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < H2O_HTTP2_ERROR_MAX; i++)
        sum += c->server->context.http2.events.protocol_level_errors[i];
    return sum;
}

/* Streams that h2o reset for what the client did count as the client's. */
static bool give_to_h2o(struct connection *c)
{
    bool gone = false;
    struct http2 *h = c->http2;
    const uint64_t errors = error_count(c);
    c->gone = &gone;
    c->read(c->socket, NULL);
    if (gone)
        return false;
    c->gone = NULL;
    if (c->state != CONNECTION_HTTP2)
        return false;
    if (frames_count(&h->frames, FRAME_RESET, (uint32_t)(error_count(c) - errors)))
        return true;
    cut(c, h->frames.error, h->frames.why);
    return false;
}

static void note_trailers(struct connection *c)
{
    struct http2 *h = c->http2;
    h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(conn_of(c), h->frames.stream);
    h->trailers_of = h->frames.stream;
    h->headers_before_trailers = stream ? stream->req.headers.size : 0;
}

/* h2o gets what is in front of a frame that stopped the scan, then that frame is dealt with. */
static bool deal_with(struct connection *c, enum frames_result result, struct buf *rest)
{
    struct http2 *h = c->http2;
    h2o_buffer_t **input = &c->socket->input;
    if (!give_to_h2o(c))
        return false;
    if (result == FRAMES_TOO_LARGE)
        refuse(c, h->frames.stream, &too_large);
    else
        note_trailers(c);
    h2o_iovec_t room = h2o_buffer_reserve(input, rest->len);
    memcpy(room.base, rest->data, rest->len);
    (*input)->size += rest->len;
    return true;
}

/* The last `len` bytes of the input are new. True: they were found good. */
static bool scan(struct connection *c, size_t len)
{
    struct http2 *h = c->http2;
    struct buf rest = {0};
    bool ok = true;
    while (ok) {
        h2o_buffer_t *input = c->socket->input;
        uint8_t *at = (uint8_t *)input->bytes + input->size - len;
        size_t kept, used;
        const enum frames_result result =
            frames_scan(&h->frames, at, len, loop_now_ms(c->server->loop), &kept, &used);
        memmove(at + kept, at + used, len - used);
        input->size -= used - kept;
        len -= used;
        h->held = len;
        if (result == FRAMES_OK)
            break;
        if (result == FRAMES_CUT) {
            cut(c, h->frames.error, h->frames.why);
            ok = false;
            break;
        }
        input->size -= len;
        buf_reset(&rest);
        buf_add(&rest, input->bytes + input->size, len);
        ok = deal_with(c, result, &rest);
    }
    buf_fini(&rest);
    return ok;
}

static bool too_much(struct connection *c)
{
    struct http2 *h = c->http2;
    if (h->swallowed <= SWALLOW_MAX)
        return false;
    cut(c, ENHANCE_YOUR_CALM, "too much of refused bodies");
    return true;
}

void http2_read(struct connection *c)
{
    struct http2 *h = c->http2;
    struct frames *f = &h->frames;
    h2o_socket_t *socket = c->socket;
    if (socket->bytes_read == 0)
        return;
    /* h2o 2.2 spins on a header block that goes on after its last GOAWAY */
    if (conn_of(c)->state != H2O_HTTP2_CONN_STATE_OPEN && f->in_block) {
        http2_close(c);
        return;
    }
    f->body_limit = c->server->options.body_limit;
    frames_credit(f, FRAME_WINDOW, (uint32_t)((socket->bytes_written - h->written) / 512));
    h->written = socket->bytes_written;
    if (!scan(c, socket->bytes_read + h->held) || !give_to_h2o(c))
        return;
    look_at_new_uploads(c);
    account_swallowed(c);
    if (!too_much(c))
        input_give_back(socket);
}

/* --- a request begins --- */

bool http2_is_refusing(const struct connection *c, h2o_req_t *req)
{
    return c->http2->refusing == H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req)->stream_id;
}

const struct refusal *http2_begin(struct connection *c, h2o_req_t *req)
{
    struct http2 *h = c->http2;
    h2o_http2_stream_t *stream = H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req);
    if (h->trailers_of == stream->stream_id) {
        req->headers.size = h->headers_before_trailers;
        h->trailers_of = 0;
    }
    if (h->refusing == stream->stream_id) {
        h->refusing = 0;
        return h->refusal;
    }
    const bool lacks_body = !stream->_req_body && stream->_expected_content_length != SIZE_MAX &&
                            stream->_expected_content_length != 0;
    return lacks_body ? &http2_bad_length : http2_head_check(req);
}

/* --- time --- */

static uint64_t wanted_bytes(const struct connection *c)
{
    return c->server->options.client_timeout * BYTES_A_SECOND / 1000;
}

/* One frame or header block that does not end. */
static bool check_partial(struct connection *c)
{
    struct http2 *h = c->http2;
    const uint64_t mark = h->frames.count;
    if (mark != h->partial_mark || !(frames_partial(&h->frames) || h->held > 0))
        h->partial_ticks = 0;
    h->partial_mark = mark;
    if (h->partial_ticks++ < TICKS)
        return true;
    cut(c, ENHANCE_YOUR_CALM, "a frame took too long");
    return false;
}

static bool check_uploads(struct connection *c)
{
    struct frames *f = &c->http2->frames;
    for (uint32_t i = 0; i < f->upload_count; i++) {
        struct upload *upload = &f->uploads[i];
        if (upload->ticks++ < TICKS || upload->refused)
            continue;
        if (upload->seen - upload->seen_before < wanted_bytes(c))
            refuse(c, upload->stream, &too_slow);
        upload->seen_before = upload->seen;
        upload->ticks = 1;
    }
    return c->state == CONNECTION_HTTP2;
}

/* --- readers that do not read --- */

static bool wants_to_send(const h2o_http2_stream_t *stream)
{
    return stream->_data.size > 0 || stream->state == H2O_HTTP2_STREAM_STATE_SEND_BODY_IS_FINAL;
}

/* Bytes of bodies, on all streams. */
static uint64_t sent_bytes(const struct connection *c)
{
    const ssize_t left = conn_of(c)->_write.window._avail;
    const uint64_t granted = H2O_HTTP2_SETTINGS_DEFAULT.initial_window_size;
    return (uint64_t)((int64_t)(granted + c->http2->frames.window_sum) - left);
}

static struct stall find_stall(const struct http2 *h, const h2o_http2_stream_t *stream)
{
    for (size_t i = 0; i < h->stall_count; i++) {
        if (h->stalls[i].stream == stream->stream_id)
            return h->stalls[i];
    }
    return (struct stall){.stream = stream->stream_id, .sent = stream->req.bytes_sent};
}

/* The windows that the client grants: the stream's, or the connection's if nothing at all moves. */
static bool is_stalled(h2o_http2_conn_t *conn, h2o_http2_stream_t *stream, bool standing)
{
    return wants_to_send(stream) &&
           (h2o_http2_window_get_window(&stream->output_window) <= 0 ||
            (standing && h2o_http2_window_get_window(&conn->_write.window) <= 0));
}

static void collect_stalls(struct connection *c, bool standing)
{
    struct http2 *h = c->http2;
    h2o_http2_conn_t *conn = conn_of(c);
    struct stall found[STALLS_MAX];
    size_t count = 0;
    for (khiter_t i = 0; i < kh_end(conn->streams); i++) {
        if (kh_taken(conn->streams, i) && count < STALLS_MAX &&
            is_stalled(conn, kh_val(conn->streams, i), standing))
            found[count++] = find_stall(h, kh_val(conn->streams, i));
    }
    memcpy(h->stalls, found, count * sizeof(found[0]));
    h->stall_count = count;
}

static void give_up(struct connection *c, uint32_t id)
{
    h2o_http2_conn_t *conn = conn_of(c);
    h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(conn, id);
    if (!stream || conn->state >= H2O_HTTP2_CONN_STATE_IS_CLOSING)
        return;
    h2o_http2__encode_rst_stream_frame(&conn->_write.buf, id, CANCEL);
    h2o_http2_conn_request_write(conn);
    h2o_http2_stream_reset(conn, stream);
}

static void check_readers(struct connection *c)
{
    struct http2 *h = c->http2;
    const uint64_t sent = sent_bytes(c), floor = wanted_bytes(c) / READER_SHARE;
    collect_stalls(c, sent - h->sent_mark < floor / TICKS);
    h->sent_mark = sent;
    for (size_t i = 0; i < h->stall_count; i++) {
        struct stall *stall = &h->stalls[i];
        h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(conn_of(c), stall->stream);
        if (stream && stream->req.bytes_sent - stall->sent >= floor) {
            stall->sent = stream->req.bytes_sent;
            stall->ticks = 0;
        }
        if (++stall->ticks > TICKS)
            give_up(c, stall->stream);
    }
}

void http2_tick(struct connection *c)
{
    connection_arm(c);
    if (check_partial(c) && check_uploads(c))
        check_readers(c);
}

/* --- its life --- */

void http2_accept(struct connection *c)
{
    struct http_server *server = c->server;
    c->http2 = mem_alloc(sizeof(*c->http2));
    c->state = CONNECTION_HTTP2;
    connection_arm(c);
    h2o_http2_accept(&server->accept, c->socket, *h2o_get_timestamp(&server->context, NULL, NULL));
}

struct connection *http2_of_idle(h2o_timeout_entry_t *entry)
{
    h2o_http2_conn_t *conn = H2O_STRUCT_FROM_MEMBER(h2o_http2_conn_t, _timeout_entry, entry);
    return conn->num_streams.pull.open == 0 ? connection_of(conn->sock) : NULL;
}

void http2_free(struct http2 *http2)
{
    free(http2);
}
