/* Who may call the control plane (SPEC 8): the holder of the root key, or, while there is no key,
 * whoever sits at this machine. Both may do everything.
 */
#pragma once

#include <stdbool.h>

struct auth;
struct denial;
struct exchange;
struct server;

/* For plugins_options.authorize; `app` is the struct server, whose `auth` is made on first use. */
bool auth_authorize(void *app,
                    const struct exchange *x,
                    const char *permission,
                    bool mutating,
                    const char **principal,
                    struct denial *denial);

/* Frees the key's digest and what was remembered of wrong credentials. */
void auth_fini(struct server *server);
