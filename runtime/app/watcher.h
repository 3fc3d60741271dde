/* buntime dev: watches the plugin directories and reloads what changed shortly after a change. */
#pragma once

struct server;
struct watcher;

struct watcher *watcher_new(struct server *server);
void watcher_free(struct watcher *watcher); /* NULL is fine */
