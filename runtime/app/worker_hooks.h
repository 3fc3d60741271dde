/* Tells plugins of worker processes that begin and end: onWorkerSpawn and onWorkerTerminate.
 *
 * What the pool tells is kept, and the hooks run on a later turn of the loop: the pool is in the
 * middle of its work when it speaks.
 */
#pragma once

#include <stdbool.h>

struct pool_worker;
struct server;

void worker_hooks_init(struct server *server);
void worker_hooks_fini(struct server *server);

/* It has begun, or, with a reason, ended. */
void worker_hooks_tell(struct server *server, const struct pool_worker *worker);

/* Runs what is kept now; before the plugins shut down. */
void worker_hooks_flush(struct server *server);
