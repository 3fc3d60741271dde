/* The server's keyring: where its keys are kept, and what is told of that. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct keyring;
struct server;

struct keyring *keys_open(struct server *server);

/* Reads the keys. False: nobody could be let in, and that is for good. */
bool keys_load(struct server *server, struct err *err);
