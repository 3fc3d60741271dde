/* The worker apps of the server: the registry beside the plugins, and how a request may reach what
 * it finds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct exchange;
struct manifest;
struct plugins_options;
struct reload_apps;
struct server;

/* Makes server->apps and has reloads of the plugins take the apps along. */
void apps_init(struct server *server, struct plugins_options *options);
void apps_fini(struct server *server);

/* Largest body that any app of the current set takes; 0: none says. */
size_t apps_body_limit(const struct server *server);

/* Whether the request may reach the app that the manifest is of, an app's or a plugin's, by its
 * visibility; false: the response is there.
 */
bool apps_admit(struct server *server, const struct manifest *manifest, struct exchange *x);

/* Answers 308 to the app's base with a slash, the query kept. */
void apps_respond_slash(struct exchange *x);
