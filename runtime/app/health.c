/* buntime health: asks the running server whether it is ready, for a container's HEALTHCHECK. */
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "app/command.h"

enum { TIMEOUT_S = 3 };

/* A server that listens everywhere is asked on the loopback address. */
static const char *address_of(const struct settings *settings)
{
    if (strcmp(settings->host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(settings->host, "::") == 0 ? "::1" : settings->host;
}

static int connect_to(const struct addrinfo *address)
{
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    const int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    close(fd);
    return -1;
}

static int open_connection(const struct settings *settings)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    int fd = -1;

    snprintf(port, sizeof(port), "%u", settings->port);
    if (getaddrinfo(address_of(settings), port, &hints, &found) != 0)
        return -1;
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
        fd = connect_to(a);
    freeaddrinfo(found);
    return fd;
}

/* --- a connection, in the clear or not --- */

struct link {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl; /* NULL: in the clear */
};

/* Nothing secret is said, and the address is this machine's own: whose certificate it is, and until
 * when, does not matter here.
 */
static bool start_tls(struct link *link)
{
    link->ctx = SSL_CTX_new(TLS_client_method());
    link->ssl = link->ctx ? SSL_new(link->ctx) : NULL;
    return link->ssl && SSL_set_fd(link->ssl, link->fd) == 1 && SSL_connect(link->ssl) == 1;
}

static bool send_all(struct link *link, const char *bytes, int len)
{
    if (link->ssl)
        return SSL_write(link->ssl, bytes, len) == len;
    return send(link->fd, bytes, (size_t)len, MSG_NOSIGNAL) == len;
}

static ssize_t receive(struct link *link, char *at, size_t size)
{
    return link->ssl ? SSL_read(link->ssl, at, (int)size) : recv(link->fd, at, size, 0);
}

static void close_link(struct link *link)
{
    SSL_free(link->ssl);
    SSL_CTX_free(link->ctx);
    close(link->fd);
}

/* The whole answer, NUL-terminated, or what of it fits. */
static void ask(struct link *link, const struct settings *settings, char *answer, size_t size)
{
    char request[256];
    size_t len = 0;
    ssize_t got;
    const int n = snprintf(request, sizeof(request),
                           "GET %s/api/health/ready HTTP/1.1\r\nHost: localhost\r\n"
                           "Connection: close\r\n\r\n",
                           settings->api_prefix);

    if (send_all(link, request, n)) {
        while (len + 1 < size && (got = receive(link, answer + len, size - 1 - len)) > 0)
            len += (size_t)got;
    }
    answer[len] = '\0';
}

int command_health(struct invocation *in)
{
    struct link link = {.fd = open_connection(in->settings)};
    char answer[4096] = "";
    const char *body;

    signal(SIGPIPE, SIG_IGN);
    if (link.fd < 0) {
        fprintf(stderr, "buntime health: nothing listens at %s:%u\n", in->settings->host,
                in->settings->port);
        return 1;
    }
    if (!in->settings->tls_cert || start_tls(&link))
        ask(&link, in->settings, answer, sizeof(answer));
    close_link(&link);
    body = strstr(answer, "\r\n\r\n");
    printf("%s\n", body ? body + 4 : "no answer");
    return strncmp(answer, "HTTP/1.1 200 ", 13) == 0 ? 0 : 1;
}
