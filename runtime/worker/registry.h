/* Keeps the set of worker apps in step with what lies in RUNTIME_WORKER_DIRS.
 *
 * Owns one reference of the current set. A reload scans, which reads and changes nothing, and then
 * commits what the scan found, in one step. Apps whose folders did not change stay the very same
 * objects. Runs no code of apps and logs nothing: what happens is told by the callbacks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "worker/app_set.h"

struct env_source;
struct registry;
struct settings;

struct registry_options {
    const struct settings *settings;
    const struct env_source *env; /* where permissions.env gets its values */
    void *app;
    /* Warnings of manifests and directories; `name` is an app's or NULL. */
    void (*on_notice)(void *app, enum log_level level, const char *name, const char *message);
    /* `which` is no longer in the set: it was replaced, disabled or removed. */
    void (*on_retire)(void *app, struct app *which);
};

struct registry *registry_new(const struct registry_options *options);
void registry_free(struct registry *registry);

/* Never NULL; empty before the first commit. Borrowed. */
struct app_set *registry_set(const struct registry *registry);

/* Whether the code of a new or changed app is sound; false: `err` is why it is not loaded. */
typedef bool registry_check(void *arg, const struct app *app, struct err *err);

struct registry_scan {
    struct app_set *set;       /* what would be current */
    struct app_entry *removed; /* folders of the current set that are gone, without their apps */
    size_t removed_len;
    bool ok; /* none is kept_old or failed */
};

struct registry_scan *
registry_scan(struct registry *registry, registry_check *check, void *check_arg);
void registry_scan_free(struct registry_scan *scan); /* NULL is fine */

/* Makes the scan's set the current one and retires what it no longer has. */
void registry_commit(struct registry *registry, struct registry_scan *scan);
