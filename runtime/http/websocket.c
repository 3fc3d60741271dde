#include "http/websocket.h"

#include <stdlib.h>

#include "http/server_impl.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#include <h2o/websocket.h>
#pragma GCC diagnostic pop

#include "base/mem.h"

enum { QUEUE_MAX = 4 * 1024 * 1024, CLOSE_MS = 5000, KEY_LEN = 24 };

struct websocket {
    struct websocket_options options; /* owner NULL: disowned */
    h2o_websocket_conn_t *conn;
    struct http_server *server;
    struct connection *connection;
    struct post flush, cut;
    struct timer timer; /* pings; once closing, the end of patience */
    bool heard, pinged;
    bool closing, paused;
    unsigned code; /* what the end is told as */
    struct buf reason;
};

/* --- the end --- */

static void free_websocket(struct websocket *ws)
{
    struct loop *loop = ws->server->loop;

    timer_stop(&ws->timer);
    loop_unpost(loop, &ws->flush);
    loop_unpost(loop, &ws->cut);
    buf_fini(&ws->reason);
    free(ws);
}

/* Nothing of wslay's or h2o's may be on the C stack but what calls back with the end. */
static void end(struct websocket *ws)
{
    void (*closed)(void *owner, unsigned code, struct str reason) = ws->options.closed;
    void *owner = ws->options.owner;

    if (ws->connection)
        ws->connection->websocket = NULL;
    h2o_websocket_close(ws->conn);
    if (owner)
        closed(owner, ws->code, buf_str(&ws->reason));
    free_websocket(ws);
}

static void cut(struct post *post)
{
    end(H2O_STRUCT_FROM_MEMBER(struct websocket, cut, post));
}

static void cut_soon(struct websocket *ws)
{
    ws->closing = true;
    loop_post(ws->server->loop, &ws->cut);
}

void websocket_cut(struct websocket *ws)
{
    end(ws);
}

void websocket_lose_connection(struct websocket *ws)
{
    ws->connection = NULL;
    if (!ws->conn->sock) /* in the middle of the upgrade: h2o need not say so */
        cut_soon(ws);
}

/* --- writing --- */

static void flush(struct post *post)
{
    struct websocket *ws = H2O_STRUCT_FROM_MEMBER(struct websocket, flush, post);

    if (ws->conn->sock) /* else it begins by itself once the upgrade is through */
        h2o_websocket_proceed(ws->conn);
}

static void flush_soon(struct websocket *ws)
{
    loop_post(ws->server->loop, &ws->flush);
}

static void queue(struct websocket *ws, uint8_t opcode, struct str data)
{
    const struct wslay_event_msg message = {opcode, (const uint8_t *)data.at, data.len};

    wslay_event_queue_msg(ws->conn->ws_ctx, &message);
    flush_soon(ws);
}

void websocket_send(struct websocket *ws, struct str data, bool binary)
{
    if (ws->closing)
        return;
    if (wslay_event_get_queued_msg_length(ws->conn->ws_ctx) + data.len > QUEUE_MAX) {
        ws->code = WEBSOCKET_BUSY; /* it would not read this either */
        cut_soon(ws);
        return;
    }
    if (!data.at)
        data.at = "";
    queue(ws, binary ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME, data);
}

static void keep_reason(struct websocket *ws, unsigned code, struct str reason)
{
    ws->code = code;
    buf_reset(&ws->reason);
    buf_add_str(&ws->reason, reason);
}

void websocket_close(struct websocket *ws, unsigned code, struct str reason)
{
    if (ws->closing)
        return;
    ws->closing = true;
    ws->paused = false; /* the answer to it is to be read */
    keep_reason(ws, code, reason);
    wslay_event_queue_close(ws->conn->ws_ctx, (uint16_t)code, (const uint8_t *)reason.at,
                            reason.len);
    timer_start(ws->server->loop, &ws->timer, CLOSE_MS);
    flush_soon(ws);
}

bool websocket_closing(const struct websocket *ws)
{
    return ws->closing;
}

void websocket_disown(struct websocket *ws)
{
    ws->options.owner = NULL;
    if (!ws->closing)
        websocket_close(ws, WEBSOCKET_GOING_AWAY, STR(""));
}

/* --- reading --- */

/* h2o starts to read again after each step; the guard asks here first. */
bool websocket_paused(const struct websocket *ws)
{
    return ws->paused;
}

void websocket_pause(struct websocket *ws, bool pause)
{
    if (ws->paused == pause || ws->closing)
        return;
    ws->paused = pause;
    if (!pause)
        flush_soon(ws);
    else if (ws->conn->sock)
        h2o_socket_read_stop(ws->conn->sock);
}

static void on_close_frame(struct websocket *ws, const struct wslay_event_on_msg_recv_arg *frame)
{
    const size_t skip = frame->msg_length < 2 ? frame->msg_length : 2;
    const struct str reason = {(const char *)frame->msg + skip, frame->msg_length - skip};

    if (!ws->closing) /* else this is the answer to ours */
        keep_reason(ws, frame->status_code ? frame->status_code : 1005, reason);
    ws->closing = true;
    timer_start(ws->server->loop, &ws->timer, CLOSE_MS);
}

/* wslay closes by itself on what breaks the rules: what it says is what the owner is told. */
static unsigned own_code(const struct websocket *ws)
{
    const unsigned sent = wslay_event_get_close_sent(ws->conn->ws_ctx)
                              ? wslay_event_get_status_code_sent(ws->conn->ws_ctx)
                              : 0;

    return sent && sent != 1005 ? sent : WEBSOCKET_ABNORMAL;
}

/* Whether wslay has given up on the client's frames; the connection itself is in order. */
static bool is_breach(const struct websocket *ws)
{
    const h2o_websocket_conn_t *conn = ws->conn;

    return conn->sock && !h2o_socket_is_writing(conn->sock) &&
           !wslay_event_get_read_enabled(conn->ws_ctx) &&
           !wslay_event_get_close_received(conn->ws_ctx) &&
           !wslay_event_get_close_sent(conn->ws_ctx) &&
           wslay_event_get_queued_msg_count(conn->ws_ctx) == 1;
}

static void breach_told(h2o_socket_t *sock, const char *failure)
{
    (void)sock, (void)failure;
}

/* On a bad frame wslay queues a close without a code and h2o ends the connection before it is out;
 * so the frame that says why is written here.
 */
static void tell_breach(struct websocket *ws)
{
    h2o_iovec_t frame = {H2O_STRLIT("\x88\x02\x03\xea")};

    ws->code = 1002;
    h2o_socket_write(ws->conn->sock, &frame, 1, breach_told);
}

static void on_event(h2o_websocket_conn_t *conn, const struct wslay_event_on_msg_recv_arg *frame)
{
    struct websocket *ws = conn->data;

    if (!frame) {
        if (!ws->closing && is_breach(ws))
            tell_breach(ws);
        else if (!ws->closing)
            ws->code = own_code(ws);
        end(ws);
        return;
    }
    ws->heard = true;
    if (frame->opcode == WSLAY_CONNECTION_CLOSE) {
        on_close_frame(ws, frame);
    } else if (!wslay_is_ctrl_frame(frame->opcode) && ws->options.owner && !ws->closing) {
        const struct str data = {(const char *)frame->msg, frame->msg_length};
        ws->options.message(ws->options.owner, data, frame->opcode == WSLAY_BINARY_FRAME);
    }
}

static void on_timer(struct timer *timer)
{
    struct websocket *ws = H2O_STRUCT_FROM_MEMBER(struct websocket, timer, timer);

    if (ws->closing || (ws->pinged && !ws->heard && !ws->paused)) {
        if (!ws->closing)
            ws->code = WEBSOCKET_ABNORMAL;
        end(ws);
        return;
    }
    ws->pinged = true;
    ws->heard = false;
    queue(ws, WSLAY_PING, (struct str){"", 0});
    timer_start(ws->server->loop, timer, ws->options.ping_ms);
}

/* --- the upgrade --- */

struct websocket *websocket_upgrade(struct exchange *x, const struct websocket_options *options)
{
    struct h2o_exchange *hx = (struct h2o_exchange *)x;
    h2o_socket_t *socket = hx->req->conn->callbacks->get_socket(hx->req->conn);
    struct connection *c = connection_of(socket);
    struct websocket *ws;
    const char *key = NULL;

    /* a client must not send anything before the answer */
    if (hx->req->version >= 0x200 || connection_has_later(c) ||
        h2o_is_websocket_handshake(hx->req, &key) != 0 || !key)
        return NULL;
    ws = mem_alloc(sizeof(*ws));
    ws->options = *options;
    ws->server = hx->server;
    ws->connection = c;
    ws->flush.run = flush;
    ws->cut.run = cut;
    ws->timer.fire = on_timer;
    ws->code = WEBSOCKET_ABNORMAL;
    c->websocket = ws;
    ws->conn = h2o_upgrade_to_websocket(hx->req, key, ws, on_event);
    wslay_event_config_set_max_recv_msg_length(ws->conn->ws_ctx, options->max_message);
    if (options->ping_ms)
        timer_start(ws->server->loop, &ws->timer, options->ping_ms);
    return ws;
}
