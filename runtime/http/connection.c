#include "http/server_impl.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/http2.h"
#include "http/tls.h"

/* Slower than this, over a whole time-out, a body counts as stalled. */
enum { BODY_BYTES_A_SECOND = 1024 };

/* After a refusal: how much may still come in, so that the client gets to read it. */
enum { THROW_AWAY_MAX = 64 * 1024 * 1024 };

static const struct refusal too_slow = {408, "REQUEST_TIMEOUT", "the request took too long"};

static void on_socket_closed(void *data)
{
    struct connection *c = data;
    connection_disarm(c);
    if (c->gone)
        *c->gone = true;
    h2o_linklist_unlink(&c->link);
    c->server->connection_count--;
    buf_fini(&c->later);
    buf_fini(&c->refusal);
    http2_free(c->http2);
    tls_unref(c->tls);
    free(c);
}

struct connection *connection_of(h2o_socket_t *socket)
{
    return socket->on_close.cb == on_socket_closed ? socket->on_close.data : NULL;
}

/* What h2o had of it is gone; the socket itself may stay until TLS has said goodbye. */
void connection_ended(struct connection *c)
{
    connection_disarm(c);
    if (c->websocket)
        websocket_lose_connection(c->websocket);
    c->websocket = NULL;
    c->state = CONNECTION_CLOSED;
    h2o_timeout_link(c->server->context.loop, &c->server->linger_timeout, &c->timeout);
}

void connection_close(struct connection *c)
{
    if (c->state == CONNECTION_CLOSED) { /* the second time it does not wait */
        guard_close(c->socket);
        return;
    }
    if (c->state == CONNECTION_HTTP2) {
        http2_close(c);
        return;
    }
    /* h2o ends a connection, and what request it has, when reading fails */
    if (c->websocket && c->state == CONNECTION_OPAQUE)
        websocket_cut(c->websocket);
    else if (c->read && c->state != CONNECTION_OPAQUE && c->state != CONNECTION_HANDSHAKE)
        c->read(c->socket, h2o_socket_error_closed);
    else
        h2o_socket_close(c->socket);
}

bool connection_has_later(const struct connection *c)
{
    return c->later.len > c->later_at;
}

bool connection_idle(const struct connection *c)
{
    return (c->state == CONNECTION_HEAD && !c->begun) || c->state == CONNECTION_HANDSHAKE;
}

struct str connection_ip(struct connection *c)
{
    struct sockaddr_storage address;
    char host[NI_MAXHOST];
    if (c->ip_len == 0) {
        struct sockaddr *sa = (struct sockaddr *)&address;
        socklen_t size = h2o_socket_getpeername(c->socket, sa);
        size_t len = size ? h2o_socket_getnumerichost(sa, size, host) : SIZE_MAX;
        struct str ip = len < sizeof(host) ? (struct str){host, len} : STR("0.0.0.0");
        if (str_starts(ip, STR("::ffff:")) && memchr(ip.at, '.', ip.len))
            ip = (struct str){ip.at + 7, ip.len - 7};
        c->ip_len = (uint8_t)(ip.len < sizeof(c->ip) ? ip.len : sizeof(c->ip));
        memcpy(c->ip, ip.at, c->ip_len);
    }
    return (struct str){c->ip, c->ip_len};
}

/* --- refusing --- */

/* Where the bytes of the request being read start. */
static const char *request_start(const struct connection *c)
{
    return connection_has_later(c) ? c->later.data + c->later_at : c->socket->input->bytes;
}

static struct str text_of(const struct connection *c, struct head_part part)
{
    return part.len ? (struct str){request_start(c) + part.at, part.len} : (struct str){0};
}

static const char *reason_of(unsigned status)
{
    switch (status) {
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 417:
        return "Expectation Failed";
    case 431:
        return "Request Header Fields Too Large";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}

static void print_body(struct buf *out, const struct refusal *refusal, struct str id)
{
    buf_printf(out, "{\"success\":false,\"code\":\"%s\",\"message\":", refusal->code);
    buf_json_string(out, str_of(refusal->message));
    buf_puts(out, ",\"requestId\":");
    buf_json_string(out, id);
    buf_putc(out, '}');
}

static void print_refusal(struct connection *c, const struct refusal *refusal)
{
    char uuid[UUID_SIZE];
    struct str id = text_of(c, c->head.id);
    if (!id.at) {
        uuid_v4(&c->server->random, uuid);
        id = str_of(uuid);
    }
    h2o_context_t *context = &c->server->context;
    h2o_get_timestamp(context, NULL, NULL);
    struct buf body = {0};
    print_body(&body, refusal, id);
    buf_reset(&c->refusal);
    buf_printf(&c->refusal, "HTTP/1.1 %u %s\r\n", refusal->status, reason_of(refusal->status));
    buf_printf(&c->refusal, "Date: %s\r\n", context->_timestamp_cache.value->rfc1123);
    buf_printf(&c->refusal, "Connection: close\r\nContent-Length: %zu\r\n", body.len);
    buf_printf(&c->refusal, "Server: %s\r\n", c->server->config.server_name.base);
    if (refusal->status == 405)
        buf_puts(&c->refusal, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    buf_puts(&c->refusal, "content-type: application/json\r\nx-request-id: ");
    buf_add_str(&c->refusal, id);
    buf_puts(&c->refusal, "\r\n\r\n");
    if (!str_equal(text_of(c, c->head.method), STR("HEAD")))
        buf_add(&c->refusal, body.data, body.len);
    buf_fini(&body);
}

static void throw_away(h2o_socket_t *socket, const char *failure)
{
    struct connection *c = connection_of(socket);
    if (!failure) {
        c->thrown_away += socket->bytes_read;
        socket->input->size -= socket->bytes_read;
    }
    if (failure || c->thrown_away > THROW_AWAY_MAX)
        connection_close(c);
}

/* Closing with bytes unread would reset the connection, and the client might never see the
 * refusal. So only our side is closed, and what comes is thrown away for a moment.
 */
static void on_refusal_sent(h2o_socket_t *socket, const char *failure)
{
    struct connection *c = connection_of(socket);
    if (failure || shutdown(h2o_socket_get_fd(socket), SHUT_WR) != 0) {
        connection_close(c);
        return;
    }
    guard_pass(socket, throw_away);
    h2o_timeout_link(c->server->context.loop, &c->server->linger_timeout, &c->timeout);
}

void connection_refuse(struct connection *c, const struct refusal *refusal)
{
    connection_disarm(c);
    print_refusal(c, refusal);
    c->state = CONNECTION_REFUSED;
    h2o_iovec_t bytes = {c->refusal.data, c->refusal.len};
    h2o_socket_read_stop(c->socket);
    h2o_socket_write(c->socket, &bytes, 1, on_refusal_sent);
}

/* --- the time-out --- */

static void on_timeout(h2o_timeout_entry_t *entry)
{
    struct connection *c = H2O_STRUCT_FROM_MEMBER(struct connection, timeout, entry);
    if (c->state == CONNECTION_HTTP2) {
        http2_tick(c);
        return;
    }
    uint64_t wanted = c->server->client_timeout.timeout * BODY_BYTES_A_SECOND / 1000;
    bool busy = h2o_socket_is_writing(c->socket); /* 100 Continue does not get out */
    if (c->state == CONNECTION_BODY && !busy && c->body_seen >= wanted)
        connection_arm(c);
    else if ((c->state == CONNECTION_BODY || (c->state == CONNECTION_HEAD && c->begun)) && !busy)
        connection_refuse(c, &too_slow);
    else
        connection_close(c);
}

void connection_disarm(struct connection *c)
{
    h2o_timeout_unlink(&c->timeout);
}

void connection_arm(struct connection *c)
{
    connection_disarm(c);
    c->body_seen = 0;
    h2o_timeout_t *timeout = c->state == CONNECTION_HTTP2       ? &c->server->tick_timeout
                             : c->state == CONNECTION_HANDSHAKE ? &c->server->handshake_timeout
                                                                : &c->server->client_timeout;
    h2o_timeout_link(c->server->context.loop, timeout, &c->timeout);
}

void connection_await(struct connection *c)
{
    c->state = CONNECTION_HEAD;
    c->begun = false;
    c->head = (struct head){0};
    connection_arm(c);
    if (c->server->stopping) { /* cannot close here: h2o is about to look at the connection */
        connection_disarm(c);
        h2o_timeout_link(c->server->context.loop, &c->server->context.zero_timeout, &c->timeout);
    }
}

/* A client that takes nothing of an answer for so long is cut by the kernel: h2o itself would
 * wait for ever.
 */
static void bound_writing(struct http_server *server, h2o_socket_t *socket)
{
    unsigned ms = (unsigned)server->options.client_timeout;
    if (ms > 0)
        setsockopt(h2o_socket_get_fd(socket), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

void connection_open(struct http_server *server, h2o_socket_t *socket)
{
    struct connection *c = mem_alloc(sizeof(*c));
    c->server = server;
    c->socket = socket;
    c->timeout.cb = on_timeout;
    h2o_linklist_insert(&server->connections, &c->link);
    server->connection_count++;
    socket->on_close.cb = on_socket_closed;
    socket->on_close.data = c;
    bound_writing(server, socket);
    c->tls = tls_ref(server->tls);
    if (c->tls)
        handshake_start(c);
    else
        h2o_http1_accept(&server->accept, socket, *h2o_get_timestamp(&server->context, NULL, NULL));
}
