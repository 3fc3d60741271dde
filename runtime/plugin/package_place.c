/* Putting packages into their places, bringing them back, and taking them away. */
#include "plugin/package_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "conf/settings.h"
#include "plugin/tree.h"
#include "plugin/versions.h"

/* --- moving things into place --- */

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? mem_copy_n(path, (size_t)(slash - path)) : mem_copy(".");
}

static bool not_placed(const struct package *package, struct err *err)
{
    tree_err(err, "the package cannot be put into its place");
    return err_wrap(err, "%s", package->name);
}

/* A file system that cannot exchange leaves a moment without the folder. */
static bool exchange_slowly(const struct package *package)
{
    char *aside = path_join(package->stage, "aside");
    bool ok = rename(package->target, aside) == 0;

    if (ok && rename(package->root, package->target) != 0) {
        rename(aside, package->target);
        ok = false;
    }
    ok = ok && rename(aside, package->root) == 0;
    free(aside);
    return ok;
}

static bool exchange(const struct package *package)
{
    const char *root = package->root, *target = package->target;

    if (renameat2(AT_FDCWD, root, AT_FDCWD, target, RENAME_EXCHANGE) == 0)
        return true;
    return (errno == EINVAL || errno == ENOSYS) && exchange_slowly(package);
}

static bool put(const struct package *package)
{
    const char *root = package->root, *target = package->target;

    if (package->replaces)
        return exchange(package);
    if (renameat2(AT_FDCWD, root, AT_FDCWD, target, RENAME_NOREPLACE) == 0)
        return true;
    return (errno == EINVAL || errno == ENOSYS) && rename(root, target) == 0;
}

/* Into the directory of the one that it replaces, where that is another one. */
static bool move_stage(struct package *package, const char *home, struct err *err)
{
    struct package other = {.settings = package->settings, .lock = -1, .upload = -1};
    char *root;
    bool ok = stage_open(&other, home, err);

    if (!ok) {
        stage_close(&other);
        return false;
    }
    root = path_join(other.stage, "new");
    ok = rename(package->root, root) == 0 || tree_copy(package->root, root, err);
    stage_close(package);
    free(package->root);
    package->root = root;
    package->stage = other.stage;
    package->lock = other.lock;
    return ok;
}

static bool is_same_dir(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool fit_stage(struct package *package, struct err *err)
{
    const char *home = package_home_of(package);
    char *now = folder_of(package->stage);
    const bool ok = is_same_dir(home, now) || move_stage(package, home, err);

    free(now);
    return ok;
}

/* What is in place is on the disk before its name is. */
static bool sync_package(const struct package *package)
{
    return syncfs(package->lock) == 0;
}

static bool keep(struct package *package, struct err *err)
{
    if (!package->replaces || package->kind != PACKAGE_PLUGIN)
        return true;
    return versions_keep(package->settings, package->name, package->old_version, package->root,
                         err);
}

bool package_place(struct package *package, struct err *err)
{
    char *folder = folder_of(package->target);
    bool ok = fit_stage(package, err);

    if (ok && (!tree_make(folder, 0755) || !sync_package(package) || !put(package)))
        ok = not_placed(package, err);
    if (ok && !keep(package, err)) {
        exchange(package);
        ok = false;
    }
    if (ok)
        tree_sync(folder);
    if (ok && package->restored)
        tree_remove(package->restored);
    if (ok && package->kind == PACKAGE_PLUGIN)
        versions_prune(package->settings, package->name);
    free(folder);
    return ok;
}

/* --- going back --- */

static bool unknown(struct err *err, const char *name)
{
    return err_set(err, "PLUGIN_NOT_FOUND", "there is no plugin named %s", name);
}

/* The kept version that is meant, in `restored` and `version`. */
static bool choose_kept(struct package *package, const char *version, struct err *err)
{
    struct kept_list list;

    versions_list(package->settings, package->name, &list);
    for (size_t i = 0; i < list.len && !package->restored; i++) {
        const struct kept_version *kept = &list.items[i];
        if (version && (!kept->version || strcmp(kept->version, version) != 0))
            continue;
        package->restored = mem_copy(kept->path);
        package->version = mem_copy(kept->version);
    }
    kept_fini(&list);
    if (package->restored)
        return true;
    if (!package->replaces)
        return unknown(err, package->name);
    return err_set(err, "VERSION_NOT_KEPT", "no %s of %s is kept",
                   version ? "such version" : "earlier version", package->name);
}

/* A copy, so that a crash loses nothing. */
static bool fetch_kept(struct package *package, struct err *err)
{
    if (!stage_open(package, package_home_of(package), err))
        return false;
    package->root = path_join(package->stage, "new");
    return tree_copy(package->restored, package->root, err);
}

bool package_rollback(struct package *package,
                      const char *name,
                      const char *version,
                      struct err *err)
{
    if (!versions_name_is_sound(name))
        return unknown(err, name);
    package->name = mem_copy(name);
    return package_settle(package, err) && choose_kept(package, version, err) &&
           fetch_kept(package, err) && package_place(package, err);
}

/* --- removing --- */

static bool take_away(struct package *package, struct err *err)
{
    char *folder = folder_of(package->target);
    bool ok = stage_open(package, package_home_of(package), err);

    package->root = ok ? path_join(package->stage, "old") : NULL;
    if (ok && rename(package->target, package->root) != 0)
        ok = tree_err(err, package->target);
    if (ok && !keep(package, err)) {
        rename(package->root, package->target);
        ok = false;
    }
    if (ok)
        tree_sync(folder);
    if (ok && *path_name(folder) == '@')
        rmdir(folder);
    free(folder);
    return ok;
}

bool package_remove(struct package *package, const char *name, struct err *err)
{
    if (!versions_name_is_sound(name))
        return unknown(err, name);
    package->name = mem_copy(name);
    if (!package_find(package, err)) {
        if (strcmp(err->code, "BUILT_IN_PLUGIN_REPLACE_FORBIDDEN") == 0)
            err_set(err, "BUILT_IN_PLUGIN_REMOVE_FORBIDDEN", "%s is built in and cannot be removed",
                    name);
        return false;
    }
    if (!package->replaces)
        return unknown(err, name);
    package->version = mem_copy(package->old_version);
    if (!take_away(package, err))
        return false;
    versions_prune(package->settings, name);
    return true;
}
