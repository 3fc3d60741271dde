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

enum {
    SWEEP_MS = 100,
    BUSY_SWEEP_MS = 500,
    BUSY = 1000,
    HALF_CLOSED_MS = 1000,
    ENDS_AT_ONCE = 200
};

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

/* Those that are looked at now. Ending one may, through its receiver, answer or end others: they
 * are taken out by waiting_end().
 */
struct look {
    struct pollfd *fds;
    struct h2o_exchange **exchanges;
    size_t count, cap;
};

static void add(struct look *look, struct h2o_exchange *hx, h2o_socket_t *socket)
{
    if (look->count == look->cap) {
        look->cap = look->cap ? 2 * look->cap : 64;
        look->fds = mem_resize(look->fds, look->cap * sizeof(*look->fds));
        look->exchanges = mem_resize(look->exchanges, look->cap * sizeof(*look->exchanges));
    }
    look->fds[look->count] = (struct pollfd){.fd = h2o_socket_get_fd(socket), .events = POLLRDHUP};
    look->exchanges[look->count] = hx;
    hx->look = look->count++;
}

/* The list is in the order of arrival: the first that is young ends the walk. */
static void collect(struct http_server *server, struct look *look)
{
    uint64_t now = loop_now_ms(server->loop);
    h2o_linklist_t *anchor = &server->waiting;
    for (h2o_linklist_t *node = anchor->next; node != anchor; node = node->next) {
        struct h2o_exchange *hx = exchange_of(node);
        if (now - hx->since_ms < SWEEP_MS)
            break;
        h2o_socket_t *socket = socket_of(hx);
        if (socket)
            add(look, hx, socket);
    }
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

/* Many that go at once are taken in turns: each may have cleaning up to do. */
static void end_gone(struct look *look)
{
    size_t ended = 0;
    if (look->count == 0 || poll(look->fds, look->count, 0) <= 0)
        return;
    for (size_t i = 0; i < look->count && ended < ENDS_AT_ONCE; i++) {
        struct h2o_exchange *hx = look->fds[i].revents ? look->exchanges[i] : NULL;
        if (hx && is_gone(hx, look->fds[i].revents)) {
            connection_close(connection_of(socket_of(hx)));
            ended++;
        }
    }
}

static void forget(struct look *look)
{
    for (size_t i = 0; i < look->count; i++) {
        if (look->exchanges[i])
            look->exchanges[i]->look = SIZE_MAX;
    }
    free(look->fds);
    free(look->exchanges);
}

void waiting_sweep(struct timer *timer)
{
    struct http_server *server = H2O_STRUCT_FROM_MEMBER(struct http_server, sweep, timer);
    struct look look = {0};
    collect(server, &look);
    server->looking = look.exchanges;
    end_gone(&look);
    server->looking = NULL;
    forget(&look);
    if (!h2o_linklist_is_empty(&server->waiting))
        timer_start(server->loop, &server->sweep, look.count < BUSY ? SWEEP_MS : BUSY_SWEEP_MS);
}

void waiting_end(struct h2o_exchange *hx)
{
    if (hx->server->looking && hx->look != SIZE_MAX)
        hx->server->looking[hx->look] = NULL;
    hx->look = SIZE_MAX;
    if (h2o_linklist_is_linked(&hx->waiting))
        h2o_linklist_unlink(&hx->waiting);
}

void waiting_watch(struct http_server *server)
{
    if (!timer_running(&server->sweep))
        timer_start(server->loop, &server->sweep, SWEEP_MS);
}
