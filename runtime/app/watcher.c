#include "app/watcher.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "app/server.h"
#include "base/log.h"
#include "base/mem.h"
#include "ev/watch.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"

/* Editors write a file in several steps: the reload waits until they are over. */
enum { SETTLE_MS = 80, DEPTH_MAX = 16 };

struct watched {
    struct dir_watch watch; /* first: changed() casts back */
    struct watcher *watcher;
    struct watched *next;
};

struct watcher {
    struct server *server;
    struct watched *dirs;
    struct timer timer;
};

static void changed(struct dir_watch *watch)
{
    struct watcher *watcher = ((struct watched *)watch)->watcher;

    timer_start(watcher->server->loop, &watcher->timer, SETTLE_MS);
}

static void forget_dirs(struct watcher *watcher)
{
    while (watcher->dirs) {
        struct watched *dir = watcher->dirs;
        watcher->dirs = dir->next;
        watch_stop(&dir->watch);
        free(dir);
    }
}

static void watch_dir(struct watcher *watcher, const char *path)
{
    struct watched *dir = mem_alloc(sizeof(*dir));
    struct err err;

    dir->watch.changed = changed;
    dir->watcher = watcher;
    if (!watch_start(watcher->server->loop, &dir->watch, path, &err)) {
        log_printf(LOG_WARN, "%s", err.message);
        free(dir);
        return;
    }
    dir->next = watcher->dirs;
    watcher->dirs = dir;
}

static void watch_tree(struct watcher *watcher, const char *path, int depth)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    struct stat st;

    if (!dir)
        return;
    watch_dir(watcher, path);
    while (depth < DEPTH_MAX && (entry = readdir(dir))) {
        char *below = mem_printf("%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && lstat(below, &st) == 0 && S_ISDIR(st.st_mode))
            watch_tree(watcher, below, depth + 1);
        free(below);
    }
    closedir(dir);
}

static void watch_all(struct watcher *watcher)
{
    const struct string_list *dirs = &watcher->server->settings->plugin_dirs;
    const struct string_list *apps = &watcher->server->settings->worker_dirs;

    forget_dirs(watcher);
    for (size_t i = 0; i < dirs->len; i++)
        watch_tree(watcher, dirs->items[i], 0);
    for (size_t i = 0; i < apps->len; i++)
        watch_tree(watcher, apps->items[i], 0);
}

static void reloaded(void *arg, const struct reload_result *result)
{
    (void)arg;
    for (size_t i = 0; i < result->len; i++) {
        const struct reload_item *item = &result->items[i];
        if (item->err)
            log_err(item->name, NULL, item->err);
        else if (item->status == PLUGIN_LOADED)
            server_log_loaded(item);
        else if (item->status == PLUGIN_REMOVED)
            log_printf(LOG_INFO, "plugin %s removed", item->name);
    }
}

static void settled(struct timer *timer)
{
    struct watcher *watcher = (struct watcher *)((char *)timer - offsetof(struct watcher, timer));
    const struct reload_options options = {.changed = true};

    if (!plugins_generation(watcher->server->plugins)) {
        timer_start(watcher->server->loop, timer, SETTLE_MS); /* it is just starting */
        return;
    }
    watch_all(watcher); /* folders come and go */
    plugins_reload(watcher->server->plugins, &options, reloaded, NULL);
}

struct watcher *watcher_new(struct server *server)
{
    struct watcher *watcher = mem_alloc(sizeof(*watcher));

    watcher->server = server;
    watcher->timer.fire = settled;
    watch_all(watcher);
    return watcher;
}

void watcher_free(struct watcher *watcher)
{
    if (!watcher)
        return;
    timer_stop(&watcher->timer);
    forget_dirs(watcher);
    free(watcher);
}
