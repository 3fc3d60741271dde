/* More connections than there may be: those that have waited longest without a request make room.
 *
 * A part of the descriptors is kept from connections, for what plugins open. The lists of the
 * timeouts are in the order in which their connections began to wait, so the first that may go is
 * near the front.
 */
#include "http/http2.h"
#include "http/server_impl.h"

#include <sys/resource.h>

enum {
    RESERVE_MIN = 16, /* descriptors */
    RESERVE_MAX = 512,
    MAY_WAIT_MS = 2000, /* before it has to make room */
    LOOK_AT = 64,       /* of each list */
};

void crowd_init(struct http_server *server)
{
    struct rlimit files;
    server->connection_max = SIZE_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return;
    const size_t limit = (size_t)files.rlim_cur, quarter = limit / 4;
    const size_t reserve = quarter < RESERVE_MIN   ? RESERVE_MIN
                           : quarter > RESERVE_MAX ? RESERVE_MAX
                                                   : quarter;
    server->connection_max = limit > 2 * reserve ? limit - reserve : limit / 2;
}

bool crowd_full(const struct http_server *server)
{
    return server->connection_count >= server->connection_max;
}

struct choice {
    struct connection *c;
    uint64_t since;
};

static struct connection *of_entry(h2o_timeout_entry_t *entry)
{
    struct connection *c = H2O_STRUCT_FROM_MEMBER(struct connection, timeout, entry);
    return c->state == CONNECTION_HEAD || c->state == CONNECTION_HANDSHAKE ? c : NULL;
}

static void look(h2o_timeout_t *list,
                 struct connection *(*connection_of_entry)(h2o_timeout_entry_t *entry),
                 struct choice *oldest)
{
    h2o_linklist_t *anchor = &list->_entries, *node = anchor->next;
    for (int i = 0; i < LOOK_AT && node != anchor; i++, node = node->next) {
        h2o_timeout_entry_t *entry = H2O_STRUCT_FROM_MEMBER(h2o_timeout_entry_t, _link, node);
        if (entry->registered_at >= oldest->since)
            return;
        struct connection *c = connection_of_entry(entry);
        if (c) {
            *oldest = (struct choice){c, entry->registered_at};
            return;
        }
    }
}

bool crowd_make_room(struct http_server *server)
{
    struct choice oldest = {NULL, h2o_now(server->context.loop) - MAY_WAIT_MS};
    look(&server->client_timeout, of_entry, &oldest);
    look(&server->handshake_timeout, of_entry, &oldest);
    look(&server->context.http2.idle_timeout, http2_of_idle, &oldest);
    if (!oldest.c)
        return false;
    connection_close(oldest.c);
    return true;
}
