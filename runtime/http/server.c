#include "http/server_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/tls.h"

enum {
    ACCEPT_BATCH = 16,
    ACCEPT_PAUSE_MS = 100,
    LINGER_MS = 2000,
    HANDSHAKE_MS = 10000, /* or the client's time-out, if that is shorter */
    TICKS = 4,            /* in a time-out */
};

static const uint64_t never_ms = UINT64_C(1000) * 60 * 60 * 24 * 365;

struct server_handler {
    h2o_handler_t super;
    struct http_server *server;
};

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    exchange_h2o_begin(((struct server_handler *)handler)->server, req);
    return 0;
}

/* --- accepting --- */

static void on_acceptable(h2o_socket_t *socket, const char *failure);

static void accept_again(struct timer *timer)
{
    struct http_server *server = H2O_STRUCT_FROM_MEMBER(struct http_server, accept_again, timer);
    for (struct listener *listener = server->listeners; listener; listener = listener->next)
        h2o_socket_read_start(listener->socket, on_acceptable);
}

/* Out of descriptors, or full: the listeners would stay readable and the loop spin. */
static void pause_accepting(struct http_server *server)
{
    for (struct listener *listener = server->listeners; listener; listener = listener->next)
        h2o_socket_read_stop(listener->socket);
    timer_start(server->loop, &server->accept_again, ACCEPT_PAUSE_MS);
}

static void on_acceptable(h2o_socket_t *socket, const char *failure)
{
    struct http_server *server = socket->data;
    for (int i = 0; i < ACCEPT_BATCH && !failure; i++) {
        if (crowd_full(server) && !crowd_make_room(server)) {
            pause_accepting(server);
            break;
        }
        h2o_socket_t *accepted = h2o_evloop_socket_accept(socket);
        if (!accepted) {
            const bool short_of =
                errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
            if (short_of && !crowd_make_room(server))
                pause_accepting(server);
            break;
        }
        connection_open(server, accepted);
    }
}

bool http_server_listen(struct http_server *server, int fd, struct err *err)
{
    h2o_socket_t *socket =
        h2o_evloop_socket_create(server->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    if (!socket)
        return err_set(err, "LISTEN", "cannot watch the listening socket");
    struct listener *listener = mem_alloc(sizeof(*listener));
    listener->socket = socket;
    listener->next = server->listeners;
    server->listeners = listener;
    socket->data = server;
    h2o_socket_read_start(socket, on_acceptable);
    return true;
}

static void close_listeners(struct http_server *server)
{
    timer_stop(&server->accept_again);
    while (server->listeners) {
        struct listener *listener = server->listeners;
        server->listeners = listener->next;
        h2o_socket_close(listener->socket);
        free(listener);
    }
}

/* --- life --- */

static void configure(struct http_server *server, uint64_t timeout)
{
    h2o_globalconf_t *config = &server->config;
    h2o_config_init(config);
    config->server_name = h2o_iovec_init(H2O_STRLIT("buntime"));
    config->http1.upgrade_to_http2 = 0;
    /* The guard holds the limit and the time-out, and says so; h2o must not come first. */
    config->max_request_entity_size = SIZE_MAX - 1;
    config->http1.req_timeout = never_ms;
    config->http2.idle_timeout = timeout;
    h2o_hostconf_t *host =
        h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    host->http2.push_preload = 0;
    host->http2.reprioritize_blocking_assets = 0;
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct server_handler *handler = (void *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->server = server;
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX; /* no temporary files for large bodies */
}

struct http_server *
http_server_new(struct loop *loop, const struct server_options *options, struct err *err)
{
    if (!guard_works()) {
        err_set(err, "SERVER",
                "the HTTP guard is not in place: link the program with its symbols exported");
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    struct http_server *server = mem_alloc(sizeof(*server));
    server->loop = loop;
    server->options = *options;
    server->sweep.fire = waiting_sweep;
    server->accept_again.fire = accept_again;
    h2o_linklist_init_anchor(&server->connections);
    h2o_linklist_init_anchor(&server->waiting);
    const uint64_t timeout = options->client_timeout ? options->client_timeout : never_ms;
    configure(server, timeout);
    crowd_init(server);
    input_init(server);
    h2o_context_init(&server->context, loop_h2o(loop), &server->config);
    server->accept.ctx = &server->context;
    server->accept.hosts = server->config.hosts;
    h2o_timeout_init(server->context.loop, &server->client_timeout, timeout);
    h2o_timeout_init(server->context.loop, &server->tick_timeout, (timeout + TICKS - 1) / TICKS);
    h2o_timeout_init(server->context.loop, &server->handshake_timeout,
                     timeout < HANDSHAKE_MS ? timeout : HANDSHAKE_MS);
    h2o_timeout_init(server->context.loop, &server->linger_timeout, LINGER_MS);
    return server;
}

/* Closing one frees it, and may through its exchange's receiver do anything but close others. */
static void close_connections(struct http_server *server, bool all)
{
    h2o_linklist_t *anchor = &server->connections, *next;
    for (h2o_linklist_t *node = anchor->next; node != anchor; node = next) {
        struct connection *c = H2O_STRUCT_FROM_MEMBER(struct connection, link, node);
        next = node->next;
        if (all || connection_idle(c))
            connection_close(c);
    }
}

void http_server_set_tls(struct http_server *server, struct tls *tls)
{
    tls_ref(tls);
    tls_unref(server->tls);
    server->tls = tls;
}

void http_server_set_body_limit(struct http_server *server, size_t bytes)
{
    server->options.body_limit = bytes;
}

void http_server_stop_accepting(struct http_server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    close_listeners(server);
    h2o_context_request_shutdown(&server->context);
    close_connections(server, false);
}

size_t http_server_open_exchanges(const struct http_server *server)
{
    return server->open_exchanges;
}

/* h2o 2.2 leaves two things: a running timer, at which its disposal asserts, and the queue. */
static void dispose_context(h2o_context_t *context)
{
    h2o_multithread_queue_t *queue = context->queue;
    h2o_timeout_unlink(&context->http2._graceful_shutdown_timeout);
    h2o_context_dispose(context);
    free(queue);
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    server->stopping = true;
    close_listeners(server);
    close_connections(server, true);
    close_connections(server, true); /* those that still say goodbye */
    tls_unref(server->tls);
    timer_stop(&server->sweep);
    h2o_timeout_dispose(server->context.loop, &server->client_timeout);
    h2o_timeout_dispose(server->context.loop, &server->linger_timeout);
    h2o_timeout_dispose(server->context.loop, &server->tick_timeout);
    h2o_timeout_dispose(server->context.loop, &server->handshake_timeout);
    dispose_context(&server->context);
    h2o_config_dispose(&server->config);
    input_fini(server);
    free(server);
}
