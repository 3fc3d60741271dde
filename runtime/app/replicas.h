/* This server as one of several: the bus to the others. */
#pragma once

struct server;

void replicas_init(struct server *server); /* after databases_open() */
void replicas_start(struct server *server);
void replicas_fini(struct server *server);
