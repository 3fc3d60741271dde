/* The parent of the server process: holds the listening socket and nothing else.
 *
 * It starts the server process, starts it again when it dies or its loop stands still (the
 * connections that come meanwhile wait in the socket's backlog), hands signals on, reaps
 * whatever falls to it as process 1, and keeps the quarantine. It runs no loop, no Lua and no
 * thread, so forking is enough: settings are read once.
 */
#pragma once

#include <stdint.h>

#include "conf/settings.h"

struct blackbox;

/* What the server process is given. The socket is bound, and is its own to close. */
struct supervised {
    struct blackbox *box;
    int listener;
    uint16_t port;
};

/* Returns the exit code: in the supervisor, and in each server process that of `serve`. */
int supervise(const struct settings *settings,
              int (*serve)(const struct settings *settings, const struct supervised *given));
