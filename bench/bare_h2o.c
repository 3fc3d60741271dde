/* What libh2o costs by itself: one handler in C that answers the greeting's bytes to anything.
 * bare_h2o PORT [DIR [PORT CERT KEY]]: with libh2o's file handler for DIR at /pages; with HTTP/2
 * over TLS at a second port.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <h2o.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#pragma GCC diagnostic pop

static h2o_globalconf_t config;
static h2o_context_t context;
static h2o_accept_ctx_t plain, secure;

static int answer(h2o_handler_t *handler, h2o_req_t *req)
{
    static const char body[] = "{\"message\":\"Hello from Buntime\"}";

    (void)handler;
    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = sizeof(body) - 1;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("application/json"));
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-request-id"), 0, NULL,
                          H2O_STRLIT("9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"));
    h2o_send_inline(req, body, sizeof(body) - 1);
    return 0;
}

static void on_accept(h2o_socket_t *listener, const char *problem)
{
    h2o_socket_t *sock;

    while (!problem && (sock = h2o_evloop_socket_accept(listener)))
        h2o_accept(listener->data, sock);
}

static int listen_on(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 1024) != 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void serve(const char *port, h2o_accept_ctx_t *with)
{
    h2o_socket_t *listener = h2o_evloop_socket_create(context.loop, listen_on((uint16_t)atoi(port)),
                                                      H2O_SOCKET_FLAG_DONT_READ);

    with->ctx = &context;
    with->hosts = config.hosts;
    listener->data = with;
    h2o_socket_read_start(listener, on_accept);
}

static SSL_CTX *certified(const char *cert, const char *key)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());

    if (SSL_CTX_use_certificate_file(ssl, cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    h2o_ssl_register_alpn_protocols(ssl, h2o_http2_alpn_protocols);
    return ssl;
}

int main(int argc, char **argv)
{
    h2o_hostconf_t *host;

    signal(SIGPIPE, SIG_IGN);
    h2o_config_init(&config);
    host = h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    if (argc > 2) /* the first path that fits is taken */
        h2o_file_register(h2o_config_register_path(host, "/pages", 0), argv[2], NULL, NULL, 0);
    h2o_create_handler(h2o_config_register_path(host, "/", 0), sizeof(h2o_handler_t))->on_req =
        answer;
    h2o_context_init(&context, h2o_evloop_create(), &config);
    serve(argc > 1 ? argv[1] : "0", &plain);
    if (argc > 5) {
        secure.ssl_ctx = certified(argv[4], argv[5]);
        serve(argv[3], &secure);
    }
    while (h2o_evloop_run(context.loop, INT32_MAX) == 0 || errno == EINTR) {
    }
    return 1;
}
