#include "app/databases.h"

#include <stddef.h>

#include "app/server.h"
#include "data/postgres.h"
#include "data/redis.h"

/* Does not connect yet. A database that is away fails a request at once, a busy one after a while.
 */
static bool open_postgres(struct server *server, struct err *err)
{
    const struct postgres_options options = {
        .url = server->settings->database_url,
        .max = 4,
        .idle_timeout_ms = 60000,
        .connect_timeout_ms = 5000,
        .statement_timeout_ms = 15000,
        .acquire_timeout_ms = 6000, /* longer, so that who waits is told why it did not connect */
        .statements = 32,
    };

    if (!options.url)
        return true;
    server->database = postgres_open(server->loop, &options, err);
    return server->database || err_wrap(err, "DATABASE_URL");
}

static bool open_redis(struct server *server, struct err *err)
{
    const struct redis_options options = {
        .url = server->settings->redis_url,
        .timeout_ms = 5000,
        .connect_timeout_ms = 5000,
        .queue = 100000,
    };

    if (!options.url)
        return true;
    server->redis = redis_open(server->loop, &options, err);
    return server->redis || err_wrap(err, "REDIS_URL");
}

bool databases_open(struct server *server, struct err *err)
{
    return open_postgres(server, err) && open_redis(server, err);
}

void databases_close(struct server *server)
{
    if (server->database)
        postgres_close(server->database);
    if (server->redis)
        redis_close(server->redis);
}
