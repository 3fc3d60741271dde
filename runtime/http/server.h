/* The HTTP server on the loop: listeners, connections, and the exchanges that come out of them.
 * Owns no policy: limits come from `struct server_options`, requests go to `on_request`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct exchange;
struct http_server;
struct loop;
struct tls;

struct server_options {
    void (*on_request)(void *app, struct exchange *x);
    void *app;
    size_t body_limit; /* bytes; over it 413 */
    /* The limit of one target, as the client wrote it; 0: `body_limit`. May be NULL. */
    size_t (*body_limit_of)(void *app, struct str target);
    uint64_t client_timeout; /* ms; slow headers or bodies, idle connections */
};

struct http_server *
http_server_new(struct loop *loop, const struct server_options *options, struct err *err);

/* Serves connections accepted from `fd`, a listening socket that the server then owns. */
bool http_server_listen(struct http_server *server, int fd, struct err *err);

/* Opens a TCP socket (non-blocking, close-on-exec). `port` 0 picks a free one; *port is then the
 * one picked. Returns -1 with `err` set. It refuses connections until http_listen().
 */
int http_bind_tcp(const char *host, uint16_t *port, struct err *err);
bool http_listen(int fd, struct err *err);

/* Both; a listening socket. */
int http_listen_tcp(const char *host, uint16_t *port, struct err *err);

/* Connections that come from now on speak TLS; it is kept counted. */
void http_server_set_tls(struct http_server *server, struct tls *tls);

/* The body limit of requests whose head is read from now on. */
void http_server_set_body_limit(struct http_server *server, size_t bytes);

void http_server_stop_accepting(struct http_server *server); /* and closes idle connections */
size_t http_server_open_exchanges(const struct http_server *server);
void http_server_free(struct http_server *server); /* closes what is left */
