/* Clients that go while a handler waits.
 *
 * h2o does not read from an HTTP/1 connection while a request of it is served, so it does not
 * see them go. A sweep asks the kernel, about all requests that wait longer than a moment, in
 * one call.
 *
 * A reset is the end at once. A FIN alone may be a client that only closed its writing side
 * (`nc -N`) and still reads, or one that is gone for good; the kernel cannot tell until something
 * is sent. Such a request has HALF_CLOSED_MS to be answered, then it counts as gone.
 */
#include "http/server_impl.h"

#include <poll.h>
#include <stdlib.h>

#include "base/mem.h"

enum { SWEEP_MS = 100, BUSY_SWEEP_MS = 500, BUSY = 1000, HALF_CLOSED_MS = 1000 };

static struct h2o_exchange *exchange_of(h2o_linklist_t *node)
{
    return H2O_STRUCT_FROM_MEMBER(struct h2o_exchange, waiting, node);
}

/* NULL for HTTP/2, where h2o itself sees the client go. */
static h2o_socket_t *socket_of(const struct h2o_exchange *hx)
{
    h2o_conn_t *conn = hx->req->conn;
    return hx->req->version < 0x200 ? conn->callbacks->get_socket(conn) : NULL;
}

/* The list is in the order of arrival: the first that is young ends the walk. */
static size_t collect(struct http_server *server, struct pollfd **fds, h2o_socket_t ***sockets)
{
    uint64_t now = loop_now_ms(server->loop);
    size_t count = 0, cap = 0;
    h2o_linklist_t *anchor = &server->waiting;
    for (h2o_linklist_t *node = anchor->next; node != anchor; node = node->next) {
        struct h2o_exchange *hx = exchange_of(node);
        if (now - hx->since_ms < SWEEP_MS)
            break;
        h2o_socket_t *socket = socket_of(hx);
        if (!socket)
            continue;
        if (count == cap) {
            cap = cap ? 2 * cap : 64;
            *fds = mem_resize(*fds, cap * sizeof(**fds));
            *sockets = mem_resize(*sockets, cap * sizeof(**sockets));
        }
        (*fds)[count] = (struct pollfd){.fd = h2o_socket_get_fd(socket), .events = POLLRDHUP};
        (*sockets)[count++] = socket;
    }
    return count;
}

static bool is_gone(struct h2o_exchange *hx, short events)
{
    if (events & (POLLERR | POLLHUP | POLLNVAL))
        return true;
    uint64_t now = loop_now_ms(hx->server->loop);
    if (!hx->half_closed_ms)
        hx->half_closed_ms = now;
    return now - hx->half_closed_ms >= HALF_CLOSED_MS;
}

/* Looked up anew each time: ending one may, through its receiver, answer or end others. */
static struct h2o_exchange *waiting_on(struct http_server *server, h2o_socket_t *socket)
{
    h2o_linklist_t *anchor = &server->waiting;
    for (h2o_linklist_t *node = anchor->next; node != anchor; node = node->next) {
        if (socket_of(exchange_of(node)) == socket)
            return exchange_of(node);
    }
    return NULL;
}

static void look(struct http_server *server, struct pollfd *fds, h2o_socket_t **sockets, size_t n)
{
    if (n == 0 || poll(fds, n, 0) <= 0)
        return;
    for (size_t i = 0; i < n; i++) {
        struct h2o_exchange *hx = fds[i].revents ? waiting_on(server, sockets[i]) : NULL;
        if (hx && is_gone(hx, fds[i].revents))
            connection_close(connection_of(sockets[i]));
    }
}

void waiting_sweep(struct timer *timer)
{
    struct http_server *server = H2O_STRUCT_FROM_MEMBER(struct http_server, sweep, timer);
    struct pollfd *fds = NULL;
    h2o_socket_t **sockets = NULL;
    size_t count = collect(server, &fds, &sockets);
    look(server, fds, sockets, count);
    free(fds);
    free(sockets);
    if (!h2o_linklist_is_empty(&server->waiting))
        timer_start(server->loop, &server->sweep, count < BUSY ? SWEEP_MS : BUSY_SWEEP_MS);
}

void waiting_end(struct h2o_exchange *hx)
{
    if (h2o_linklist_is_linked(&hx->waiting))
        h2o_linklist_unlink(&hx->waiting);
}

void waiting_watch(struct http_server *server)
{
    if (!timer_running(&server->sweep))
        timer_start(server->loop, &server->sweep, SWEEP_MS);
}
