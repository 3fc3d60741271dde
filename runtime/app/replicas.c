#include "app/replicas.h"

#include <stddef.h>

#include "app/server.h"
#include "base/log.h"
#include "data/bus.h"

/* --- the bus --- */

static void on_problem(void *app, const struct err *err)
{
    (void)app;
    log_err(NULL, NULL, err);
}

static void on_restored(void *app)
{
    (void)app;
    log_printf(LOG_INFO, "the other replicas can be reached again");
}

/* --- the whole --- */

void replicas_init(struct server *server)
{
    const struct bus_options options = {
        .loop = server->loop,
        .redis = server->redis,
        .postgres = server->database,
        .app = server,
        .on_problem = on_problem,
        .on_restored = on_restored,
    };

    server->bus = bus_new(&options);
}

void replicas_start(struct server *server)
{
    bus_start(server->bus);
}

void replicas_fini(struct server *server)
{
    bus_free(server->bus);
    server->bus = NULL;
}
