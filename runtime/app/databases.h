/* What replicas share: the PostgreSQL of DATABASE_URL and the Redis of REDIS_URL, which the server
 * owns. Opening connects to neither: one that is down is no reason not to start.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct server;

bool databases_open(struct server *server, struct err *err); /* false: a URL is none */
void databases_close(struct server *server);
