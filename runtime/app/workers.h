/* The pool of worker processes as part of the server: what it tells goes to the log, and the
 * serverless sides of plugins come and go with their instances.
 */
#pragma once

#include "base/err.h"

struct instance;
struct pool;
struct server;

struct pool *workers_new(struct server *server, struct err *err);
void workers_tell_port(struct server *server); /* the workers' RUNTIME_API_URL */

/* The instance is live: its app, if its entrypoint is Lua, can be called. */
void workers_adopt(struct server *server, struct instance *instance);
/* It was replaced or removed. */
void workers_retire(struct server *server, struct instance *instance);
/* It is about to be freed. */
void workers_forget(struct server *server, struct instance *instance);
