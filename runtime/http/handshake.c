/* The TLS handshake. h2o_accept() would do it too, but reads what comes right behind it unguarded.
 */
#include "http/http2.h"
#include "http/server_impl.h"
#include "http/tls_impl.h"

static void accept_protocol(struct connection *c)
{
    struct http_server *server = c->server;
    const h2o_iovec_t protocol = h2o_socket_ssl_get_selected_protocol(c->socket);
    if (h2o_memis(protocol.base, protocol.len, H2O_STRLIT("h2"))) {
        http2_accept(c);
        return;
    }
    c->state = CONNECTION_SERVED;
    h2o_http1_accept(&server->accept, c->socket, *h2o_get_timestamp(&server->context, NULL, NULL));
}

/* What the client sent with the end of the handshake is put aside, for h2o not to find it. */
static void on_handshake(h2o_socket_t *socket, const char *failure)
{
    struct connection *c = connection_of(socket);
    connection_disarm(c);
    if (failure) {
        h2o_socket_close(socket);
        return;
    }
    h2o_buffer_t *early = socket->input;
    h2o_buffer_init(&socket->input, &h2o_socket_buffer_prototype);
    accept_protocol(c);
    h2o_buffer_dispose(&socket->input);
    socket->input = early;
    if (early->size > 0)
        guard_early(c);
}

void handshake_start(struct connection *c)
{
    c->state = CONNECTION_HANDSHAKE;
    connection_arm(c);
    h2o_socket_ssl_handshake(c->socket, c->tls->ctx, NULL, on_handshake);
}
