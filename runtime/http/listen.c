/* Opening the listening socket. */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static int bind_socket(const struct addrinfo *address)
{
    int one = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

int http_bind_tcp(const char *host, uint16_t *port, struct err *err)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    char service[8];
    snprintf(service, sizeof(service), "%u", *port);
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        err_set(err, "LISTEN", "cannot listen on %s: %s", host, gai_strerror(rc));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *address = found; address && fd < 0; address = address->ai_next)
        fd = bind_socket(address);
    int why = errno;
    freeaddrinfo(found);
    if (fd < 0)
        err_set(err, "LISTEN", "cannot listen on %s:%u: %s", host, *port, strerror(why));
    else
        *port = bound_port(fd);
    return fd;
}

bool http_listen(int fd, struct err *err)
{
    return listen(fd, BACKLOG) == 0 || err_set(err, "LISTEN", "cannot listen: %s", strerror(errno));
}

int http_listen_tcp(const char *host, uint16_t *port, struct err *err)
{
    int fd = http_bind_tcp(host, port, err);
    if (fd < 0 || http_listen(fd, err))
        return fd;
    close(fd);
    return -1;
}
