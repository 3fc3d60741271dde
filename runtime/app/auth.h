/* Who may call the control plane (SPEC 8). */
#pragma once

#include <stdbool.h>

struct denial;
struct exchange;
struct server;

/* For plugins_options.authorize; `app` is the struct server. */
bool auth_authorize(void *app,
                    const struct exchange *x,
                    const char *permission,
                    bool mutating,
                    const char **principal,
                    struct denial *denial);

/* Frees what was remembered of wrong credentials. */
void auth_fini(struct server *server);
