/* This server as one of several: the bus to the others, who they are, reloads that one of them
 * announces, and which one runs a time of a schedule.
 *
 * An announced reload is done as one of this server's own would be, announces nothing, and is
 * answered (app/announce.h).
 */
#pragma once

#include <stdbool.h>

struct plugins_options;
struct reload_options;
struct server;

/* After databases_open() and when there is a book of schedules; sets its part of the options. */
void replicas_init(struct server *server, struct plugins_options *options);
void replicas_fini(struct server *server);

void replicas_start(struct server *server); /* before the plugins are loaded */
void replicas_leave(struct server *server); /* when it takes no more requests */

/* Tells the others to do what was done here; how it went is logged. No-op when there are none. */
void replicas_announce(struct server *server, const struct reload_options *options);
