/* Reloading: read everything anew, build beside what is live, swap in one step, drain the rest.
 *
 * Reloads are serialised: one waits for the other, and one that asks for the same as a waiting
 * one joins it. Nothing before the swap touches what is live; nothing after it can fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/plugins.h"

struct registry_scan;

/* What is reloaded with the plugins and lies beyond this layer: the worker apps
 * (worker/registry.h). A reload of one plugin alone leaves them.
 */
struct reload_apps {
    struct registry_scan *(*scan)(void *app, bool dry_run); /* reads; changes nothing */
    bool (*ok)(const struct registry_scan *scan);
    void (*commit)(void *app, struct registry_scan *scan); /* after the swap; cannot fail */
    void (*drop)(struct registry_scan *scan);
};

struct reload_options {
    bool changed;     /* only what changed, and what is new or gone */
    bool strict;      /* any failure: nothing is swapped */
    bool dry_run;     /* validate, compile, resolve; run no plugin code, swap nothing */
    const char *only; /* just the plugin of that name; NULL: all */
    /* With dry_run, as if the folder `staged` was in the place of `staged_at`; NULL: nothing is. */
    const char *staged, *staged_at;
    struct reload_hold *hold; /* inside of it, and not after it */
};

/* One plugin of the answer. Borrowed, valid during the callback. */
struct reload_item {
    const char *name, *path, *version, *base; /* version, base may be NULL */
    enum plugin_status status;
    uint64_t init_ms;
    const struct err *err; /* NULL unless kept_old, failed or skipped */
};

struct reload_leak {
    char *plugin, *kind, *label;
};

struct reload_result {
    bool ok;       /* no kept_old, failed, skipped, quarantined; nor an app of these */
    bool rejected; /* strict: nothing was swapped */
    bool unknown;  /* `only` names no plugin */
    uint64_t generation, duration_ms;
    const struct reload_item *items;
    size_t len;
    const struct reload_leak *leaks;
    size_t leak_count;
    const struct registry_scan *apps; /* NULL: they were not looked at */
};

typedef void reload_done(void *arg, const struct reload_result *result);

/* Starts or queues a reload; `done` is called once, on a later turn of the loop. */
void plugins_reload(struct plugins *plugins,
                    const struct reload_options *options,
                    reload_done *done,
                    void *arg);
/* The `done` that was given with `arg` is not called any more; the reload goes on. */
void plugins_reload_forget(struct plugins *plugins, const void *arg);
/* Keeps reloads away while folders are changed: `granted` is called once, on a later turn, when
 * none runs; none but those with `hold` begins before the release, which is due in any case.
 */
struct reload_hold *plugins_hold(struct plugins *plugins, void (*granted)(void *arg), void *arg);
void plugins_release(struct reload_hold *hold); /* NULL is fine */

bool plugins_reloading(const struct plugins *plugins);
