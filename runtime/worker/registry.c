#include "worker/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/digest.h"
#include "conf/manifest.h"
#include "conf/problems.h"
#include "conf/settings.h"
#include "worker/app.h"
#include "worker/environ.h"
#include "worker/folders.h"

struct registry {
    struct registry_options options;
    struct app_set *set;
    char *missing; /* what was told of directories last time */
};

/* One scan at work. */
struct work {
    struct registry *registry;
    registry_check *check;
    void *check_arg;
    struct app_entry *entries;
    size_t len;
};

struct registry *registry_new(const struct registry_options *options)
{
    struct registry *registry = mem_alloc(sizeof(*registry));

    registry->options = *options;
    registry->set = app_set_new(mem_alloc(sizeof(struct app_entry)), 0);
    registry->missing = mem_copy("");
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    app_set_unref(registry->set);
    free(registry->missing);
    free(registry);
}

struct app_set *registry_set(const struct registry *registry)
{
    return registry->set;
}

/* --- telling --- */

static void notice(const struct registry *registry, const char *name, const char *message)
{
    if (registry->options.on_notice)
        registry->options.on_notice(registry->options.app, LOG_WARN, name, message);
}

static void
tell_warnings(const struct registry *registry, const char *name, const struct problems *problems)
{
    for (size_t i = 0; i < problems->len; i++) {
        if (!problems->items[i].warning)
            continue;
        char *text = problem_text(&problems->items[i]);
        notice(registry, name, text);
        free(text);
    }
}

/* A directory that is missing is told once, not at every reload. */
static void tell_missing(struct registry *registry, const struct app_folders *folders)
{
    char *all = mem_copy("");

    for (size_t i = 0; i < folders->missing_len; i++) {
        char *more = mem_printf("%s%s\n", all, folders->missing[i]);
        char *message = mem_printf("worker directory %s", folders->missing[i]);
        if (!strstr(registry->missing, folders->missing[i]))
            notice(registry, NULL, message);
        free(message);
        free(all);
        all = more;
    }
    free(registry->missing);
    registry->missing = all;
}

/* --- one folder --- */

static const struct app_entry *entry_at(const struct app_set *set, const char *dir)
{
    for (size_t i = 0; i < set->len; i++) {
        if (strcmp(set->entries[i].dir, dir) == 0)
            return &set->entries[i];
    }
    return NULL;
}

static void set_err(const struct work *work, struct app_entry *entry, const struct err *err)
{
    const struct app_entry *before = entry_at(work->registry->set, entry->dir);

    entry->err = mem_alloc(sizeof(*entry->err));
    *entry->err = *err;
    entry->told = before && before->err && strcmp(before->err->message, err->message) == 0;
    app_unref(entry->app);
    entry->app = NULL;
    entry->status = APP_FAILED;
}

/* What was loaded from the folder goes on, if there was anything. */
static void fail(const struct work *work, struct app_entry *entry, const struct err *err)
{
    const struct app_entry *before = entry_at(work->registry->set, entry->dir);

    set_err(work, entry, err);
    if (!before || !before->app)
        return;
    entry->app = app_ref(before->app);
    entry->status = APP_KEPT_OLD;
}

static void take_environment(const struct work *work, struct app *app)
{
    char *passed = environ_passed(app, work->registry->options.env);

    digest_add(app->digest, passed);
    free(passed);
}

static struct app *make_app(const struct work *work,
                            const struct app_folder *folder,
                            struct manifest *manifest,
                            const char *digest)
{
    struct app like = {.name = (char *)manifest->name,
                       .version = folder->version,
                       .dir = folder->dir,
                       .builtin = folder->builtin,
                       .manifest = manifest};
    struct app *app;

    memcpy(like.digest, digest, sizeof(like.digest));
    app = app_new(&like);
    take_environment(work, app);
    return app;
}

/* The app of before, when nothing of it has changed. */
static struct app *unchanged(const struct work *work, const char *dir, const char *digest)
{
    const struct app_entry *before = entry_at(work->registry->set, dir);
    struct app *again;
    bool same;

    if (!before || !before->app || before->err)
        return NULL;
    again = app_new(before->app);
    memcpy(again->digest, digest, sizeof(again->digest));
    take_environment(work, again);
    same = strcmp(again->digest, before->app->digest) == 0;
    app_unref(again);
    return same ? before->app : NULL;
}

/* The control plane's first segment is not an app's. */
static bool is_reserved(const struct work *work, const char *name)
{
    const char *prefix = work->registry->options.settings->api_prefix;

    return strcmp(name, "api") == 0 || strcmp(name, "health") == 0 ||
           (prefix && *prefix && strcmp(prefix + 1, name) == 0);
}

/* A disabled app does not exist, so it is in nobody's way. */
static bool is_rival(const struct app_entry *entry, const struct app_entry *other)
{
    return other->status != APP_DISABLED && strcmp(other->name, entry->name) == 0 &&
           strcmp(app_entry_version(other), app_entry_version(entry)) == 0;
}

/* The first found is used. */
static bool is_duplicate(const struct work *work, const struct app_entry *entry, struct err *err)
{
    for (size_t i = 0; i < work->len; i++) {
        const struct app_entry *other = &work->entries[i];
        if (!is_rival(entry, other))
            continue;
        err_set(err, "DUPLICATE_APP", "two apps are \"%s\" %s: %s is used, %s is not", entry->name,
                app_entry_version(entry), other->dir, entry->dir);
        return true;
    }
    return false;
}

static bool is_refused(const struct work *work,
                       const struct app_folder *folder,
                       const struct app_entry *entry,
                       struct err *err)
{
    if (folder->problem)
        return err_at(err, folder->dir, 0, "%s", folder->problem), true;
    if (is_reserved(work, entry->name))
        return err_at(err, folder->dir, 0, "the name \"%s\" is reserved", entry->name), true;
    return false;
}

static void rename_entry(struct app_entry *entry, const char *name)
{
    free(entry->name);
    entry->name = mem_copy(name);
}

static void take_loaded(const struct work *work, struct app_entry *entry)
{
    struct err err;

    entry->status = APP_LOADED;
    if (!entry->app->manifest->enabled) {
        entry->status = APP_DISABLED;
        app_unref(entry->app);
        entry->app = NULL;
    } else if (is_duplicate(work, entry, &err)) {
        set_err(work, entry, &err);
    } else if (work->check && !work->check(work->check_arg, entry->app, &err)) {
        fail(work, entry, &err);
    }
}

/* Reads the manifest and has the code looked at; the entry has the outcome. */
static void read_app(const struct work *work,
                     const struct app_folder *folder,
                     struct app_entry *entry,
                     const char *digest)
{
    const struct registry_options *options = &work->registry->options;
    const struct app_place place = {folder->dir, folder->name, folder->version, folder->named};
    struct problems problems = {0};
    struct manifest *manifest = manifest_read_app(&place, options->settings, &problems);
    struct err err;

    if (!folder->named)
        rename_entry(entry, manifest->name);
    tell_warnings(work->registry, entry->name, &problems);
    if (problems_err(&problems, &err)) {
        entry->app = make_app(work, folder, manifest, digest);
        take_loaded(work, entry);
    } else {
        fail(work, entry, &err);
    }
    manifest_unref(manifest);
    problems_fini(&problems);
}

static void take_unchanged(const struct work *work, struct app_entry *entry, struct app *app)
{
    struct err err;

    rename_entry(entry, app->name);
    entry->app = app_ref(app);
    entry->status = APP_UNCHANGED;
    if (is_duplicate(work, entry, &err))
        set_err(work, entry, &err);
}

static void add_entry(struct work *work, const struct app_folder *folder)
{
    struct app_entry *entry = &work->entries[work->len];
    char digest[DIGEST_TEXT];
    struct app *same;
    struct err err;

    *entry = (struct app_entry){.name = mem_copy(folder->name),
                                .version = mem_copy(folder->version),
                                .dir = mem_copy(folder->dir),
                                .builtin = folder->builtin};
    if (is_refused(work, folder, entry, &err)) {
        set_err(work, entry, &err);
    } else {
        digest_folder(folder->dir, digest);
        same = unchanged(work, folder->dir, digest);
        if (same)
            take_unchanged(work, entry, same);
        else
            read_app(work, folder, entry, digest);
    }
    work->len++;
}

/* --- the whole --- */

static void find_removed(const struct registry *registry, struct registry_scan *scan)
{
    const struct app_set *old = registry->set;

    scan->removed = mem_alloc((old->len + 1) * sizeof(*scan->removed));
    for (size_t i = 0; i < old->len; i++) {
        const struct app_entry *entry = &old->entries[i];
        if (entry_at(scan->set, entry->dir))
            continue;
        scan->removed[scan->removed_len++] = (struct app_entry){.name = mem_copy(entry->name),
                                                                .version = mem_copy(entry->version),
                                                                .dir = mem_copy(entry->dir),
                                                                .builtin = entry->builtin,
                                                                .status = APP_REMOVED};
    }
}

struct registry_scan *
registry_scan(struct registry *registry, registry_check *check, void *check_arg)
{
    struct registry_scan *scan = mem_alloc(sizeof(*scan));
    struct work work = {.registry = registry, .check = check, .check_arg = check_arg};
    struct app_folders folders;

    app_folders_find(registry->options.settings->worker_dirs.items, &folders);
    tell_missing(registry, &folders);
    work.entries = mem_alloc((folders.len + 1) * sizeof(*work.entries));
    scan->ok = true;
    for (size_t i = 0; i < folders.len; i++) {
        add_entry(&work, &folders.items[i]);
        scan->ok = scan->ok && !work.entries[i].err;
    }
    app_folders_fini(&folders);
    scan->set = app_set_new(work.entries, work.len);
    find_removed(registry, scan);
    return scan;
}

void registry_scan_free(struct registry_scan *scan)
{
    if (!scan)
        return;
    for (size_t i = 0; i < scan->removed_len; i++)
        app_entry_fini(&scan->removed[i]);
    free(scan->removed);
    app_set_unref(scan->set);
    free(scan);
}

static bool holds(const struct app_set *set, const struct app *app)
{
    for (size_t i = 0; i < set->len; i++) {
        if (set->entries[i].app == app)
            return true;
    }
    return false;
}

void registry_commit(struct registry *registry, struct registry_scan *scan)
{
    struct app_set *old = registry->set;

    registry->set = app_set_ref(scan->set);
    for (size_t i = 0; i < old->len; i++) {
        struct app *app = old->entries[i].app;
        if (app && !holds(registry->set, app) && registry->options.on_retire)
            registry->options.on_retire(registry->options.app, app);
    }
    app_set_unref(old);
}
