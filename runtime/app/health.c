/* buntime health: asks the running server whether it is ready, for a container's HEALTHCHECK. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

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

/* The whole answer, NUL-terminated, or what of it fits. */
static void ask(int fd, const struct settings *settings, char *answer, size_t size)
{
    char request[256];
    size_t len = 0;
    ssize_t got;
    const int n = snprintf(request, sizeof(request),
                           "GET %s/api/health/ready HTTP/1.1\r\nHost: localhost\r\n"
                           "Connection: close\r\n\r\n",
                           settings->api_prefix);

    if (send(fd, request, (size_t)n, MSG_NOSIGNAL) == n) {
        while (len + 1 < size && (got = recv(fd, answer + len, size - 1 - len, 0)) > 0)
            len += (size_t)got;
    }
    answer[len] = '\0';
}

int command_health(struct invocation *in)
{
    const int fd = open_connection(in->settings);
    char answer[4096];
    const char *body;

    if (fd < 0) {
        fprintf(stderr, "buntime health: nothing listens at %s:%u\n", in->settings->host,
                in->settings->port);
        return 1;
    }
    ask(fd, in->settings, answer, sizeof(answer));
    close(fd);
    body = strstr(answer, "\r\n\r\n");
    printf("%s\n", body ? body + 4 : "no answer");
    return strncmp(answer, "HTTP/1.1 200 ", 13) == 0 ? 0 : 1;
}
