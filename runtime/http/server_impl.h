/* Inside of struct http_server, shared by the files of http/ only.
 *
 * server.c       the server's life, listeners, accepting
 * connection.c   one connection: the guard's state, its timeout, refusing and closing
 * crowd.c        who goes when there are too many connections
 * handshake.c    the TLS handshake, and which protocol comes after it
 * guard.c        puts the scanners in front of h2o's reader
 * http2.c        the same for HTTP/2 connections
 * input.c        what a connection keeps of what it has read
 * exchange_h2o.c exchanges over h2o's requests
 * stream.c       bodies that are made while they are sent
 * websocket.c    upgraded connections
 * waiting.c      the exchanges whose answer is awaited, and whether their client is still there
 */
#pragma once

#include <netinet/in.h>

#include "base/buf.h"
#include "base/random.h"
#include "ev/loop.h"
#include "http/body.h"
#include "http/exchange_impl.h"
#include "http/h2o.h"
#include "http/head.h"
#include "http/server.h"

struct listener {
    h2o_socket_t *socket;
    struct listener *next;
};

struct http_server {
    struct loop *loop;
    struct server_options options;
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    struct tls *tls; /* of connections to come; NULL: plain HTTP */
    h2o_timeout_t client_timeout, linger_timeout, handshake_timeout;
    h2o_timeout_t tick_timeout; /* of HTTP/2 connections */
    struct listener *listeners;
    struct timer accept_again; /* runs while descriptors are short */
    h2o_linklist_t connections, waiting;
    struct timer sweep;            /* of `waiting` */
    struct h2o_exchange **looking; /* while it is swept: those looked at, NULL once they ended */
    size_t open_exchanges;
    size_t connection_count, connection_max;
    bool stopping;
    struct random_pool random;
    h2o_buffer_prototype_t small_input; /* of requests that are being answered */
};

/* What the guard knows of a connection. It belongs to its socket and is freed with it. */
enum connection_state {
    CONNECTION_SERVED, /* no request is being read: one is being answered, or none began yet */
    CONNECTION_HEAD,
    CONNECTION_BODY,
    CONNECTION_REFUSED, /* the refusal is on its way, what still comes in is thrown away */
    CONNECTION_OPAQUE,  /* no longer HTTP/1 */
    CONNECTION_HTTP2,
    CONNECTION_HANDSHAKE, /* of TLS */
    CONNECTION_CLOSED,    /* h2o is done with it; TLS still says goodbye */
};

struct connection {
    struct http_server *server;
    h2o_socket_t *socket;
    h2o_socket_cb read;   /* h2o's own reader, behind the guard */
    h2o_socket_cb opaque; /* that of the protocol it was upgraded to */
    h2o_linklist_t link;
    h2o_timeout_entry_t timeout;
    enum connection_state state;
    bool begun; /* the first byte of the next request is there */
    struct head head;
    struct body body;
    size_t body_seen; /* bytes of the body since the timeout was armed */
    size_t thrown_away;
    struct buf later; /* bytes of pipelined requests, for when the one before is answered */
    size_t later_at;
    struct buf refusal;
    struct websocket *websocket; /* what it was upgraded to, or NULL */
    struct tls *tls;             /* or NULL */
    struct http2 *http2;
    bool *gone; /* of who wants to know whether it was freed, or NULL */
    uint8_t ip_len;
    char ip[INET6_ADDRSTRLEN];
};

/* connection.c */
void connection_open(struct http_server *server, h2o_socket_t *socket);
struct connection *connection_of(h2o_socket_t *socket); /* NULL if it is none of ours */
void connection_await(struct connection *c);            /* the next request: timeout armed */
void connection_arm(struct connection *c);
void connection_disarm(struct connection *c);
void connection_refuse(struct connection *c, const struct refusal *refusal);
void connection_close(struct connection *c);
void connection_ended(struct connection *c); /* its socket is about to be closed */
bool connection_has_later(const struct connection *c);
bool connection_idle(const struct connection *c);
struct str connection_ip(struct connection *c);

/* input.c */
void input_init(struct http_server *server);
void input_fini(struct http_server *server);
void input_fit(struct http_server *server, h2o_socket_t *socket); /* to what is in it */
void input_give_back(h2o_socket_t *socket);                       /* if nothing is in it */

/* crowd.c */
void crowd_init(struct http_server *server);
bool crowd_full(const struct http_server *server);
bool crowd_make_room(struct http_server *server); /* false: nobody has waited long enough */

/* handshake.c */
void handshake_start(struct connection *c);

/* guard.c */
bool guard_works(void);
void guard_read_start(struct connection *c, h2o_socket_cb read);
void guard_early(struct connection *c); /* its input holds bytes that came before it was read */
void guard_pass(h2o_socket_t *socket, h2o_socket_cb read); /* h2o's own h2o_socket_read_start() */
void guard_close(h2o_socket_t *socket);                    /* h2o's own h2o_socket_close() */

/* exchange_h2o.c */
struct h2o_exchange {
    struct exchange x;
    h2o_req_t *req;
    struct http_server *server;
    h2o_linklist_t waiting;
    uint64_t since_ms;
    uint64_t half_closed_ms;   /* when the client's FIN was first seen, or 0 */
    size_t look;               /* its place in `looking`, or SIZE_MAX */
    struct h2o_stream *stream; /* once one was started */
    bool cut_upload;           /* the body was still on its way when it was answered */
};

void exchange_h2o_begin(struct http_server *server, h2o_req_t *req);

/* stream.c */
void stream_start(struct h2o_exchange *hx);
bool stream_write(struct exchange *x, struct str bytes, void (*taken)(void *arg), void *arg);
void stream_end(struct exchange *x);
void stream_abort(struct exchange *x);
void stream_fini(struct h2o_exchange *hx); /* the request goes */

/* websocket.c */
void websocket_cut(struct websocket *ws); /* at once; its owner is told */
void websocket_lose_connection(struct websocket *ws);
bool websocket_paused(const struct websocket *ws);

/* waiting.c */
void waiting_end(struct h2o_exchange *hx);      /* nobody waits for it any more; no-op if so */
void waiting_watch(struct http_server *server); /* makes sure that somebody looks */
void waiting_sweep(struct timer *timer);
