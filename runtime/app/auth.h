/* Who may call the control plane (SPEC 8): the holder of the root key, of another key or of a
 * session, and as far as its permissions go; or, while there never was a key, whoever sits at this
 * machine, who may do everything.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct auth;
struct denial;
struct exchange;
struct identity;
struct server;

/* For plugins_options; `app` is the struct server, whose `auth` is made on first use. `who` is
 * filled in any case, as far as it is known.
 */
bool auth_authorize(void *app,
                    const struct exchange *x,
                    const char *permission,
                    bool mutating,
                    struct identity *who,
                    struct denial *denial);
/* From now on wrong credentials count at all replicas. When there is a bus. */
void auth_share(struct server *server);

bool auth_login(void *app,
                const struct exchange *x,
                struct str key,
                struct identity *who,
                struct denial *denial);

/* Whether what has this name is in the caller's namespaces. */
bool auth_reaches(const struct identity *who, const char *name, struct denial *denial);

/* Takes the credential that auth_authorize() went by out of the headers, for readers that are not
 * to have it. (A session's cookie is taken from every request: bind/session_cookie.h.)
 */
void auth_take(struct server *server, struct exchange *x);

/* Frees what was remembered of wrong credentials. */
void auth_fini(struct server *server);
