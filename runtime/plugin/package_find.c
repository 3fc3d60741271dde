/* Where a package is, or is going to be. */
#include "plugin/package_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/path.h"
#include "conf/manifest.h"
#include "conf/problems.h"
#include "conf/settings.h"
#include "plugin/discover.h"

static char *const *dirs_of(const struct package *package)
{
    return package->kind == PACKAGE_PLUGIN ? package->settings->plugin_dirs.items
                                           : package->settings->worker_dirs.items;
}

const char *package_home(const struct package *package, struct err *err)
{
    for (char *const *dir = dirs_of(package); *dir; dir++) {
        if (!plugin_dir_is_builtin(*dir))
            return *dir;
    }
    err_set(err, "NO_EXTERNAL_DIR", "%s names no directory that packages may be put into",
            package->kind == PACKAGE_PLUGIN ? "RUNTIME_PLUGIN_DIRS" : "RUNTIME_WORKER_DIRS");
    return NULL;
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static bool taken(struct err *err, const char *path, const char *why)
{
    return err_set(err, "PACKAGE_FOLDER_TAKEN", "%s %s", path, why);
}

/* Only a folder can change places with another. */
static bool is_replaceable(const char *path, struct err *err)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return true;
    return taken(err, path, "is not a folder of its own, which could be replaced");
}

static void found_at(struct package *package, const char *dir, const char *version)
{
    package->target = mem_copy(dir);
    package->old_version = mem_copy(version);
    package->replaces = true;
}

/* --- plugins: by the names in their manifests, whatever their folders are called --- */

/* Without slashes at its end, as discover() takes it. */
static size_t length_of(const char *dir)
{
    size_t len = strlen(dir);

    while (len > 1 && dir[len - 1] == '/')
        len--;
    return len;
}

static bool is_plugin_dir(const struct package *package, const char *path)
{
    for (char *const *dir = dirs_of(package); *dir; dir++) {
        const size_t len = length_of(*dir);
        if (strlen(path) == len && memcmp(path, *dir, len) == 0)
            return true;
    }
    return false;
}

static bool builtin_plugin(struct err *err, const char *name)
{
    return err_set(err, "BUILT_IN_PLUGIN_REPLACE_FORBIDDEN",
                   "%s is built in and cannot be replaced", name);
}

/* True when it is the one, or must not be touched (`err`). */
static bool
look_at_plugin(struct package *package, const struct found *found, bool *ok, struct err *err)
{
    struct problems problems = {0};
    struct manifest *manifest = manifest_read(found->dir, package->settings, &problems);
    const char *name = manifest ? manifest->name : path_name(found->dir);
    const bool same = strcmp(name, package->name) == 0;

    problems_fini(&problems);
    if (same && found->builtin)
        *ok = builtin_plugin(err, package->name);
    else if (same && is_plugin_dir(package, found->dir))
        *ok = taken(err, found->dir, "is a plugin and a directory of plugins, and stays");
    else if (same && (*ok = is_replaceable(found->dir, err)))
        found_at(package, found->dir, manifest ? manifest->version : NULL);
    manifest_unref(manifest);
    return same;
}

static bool find_plugin(struct package *package, struct err *err)
{
    struct found_list found;
    bool ok = true, seen = false;

    discover(dirs_of(package), &found);
    for (size_t i = 0; i < found.len && !seen; i++)
        seen = look_at_plugin(package, &found.items[i], &ok, err);
    found_fini(&found);
    return ok;
}

/* --- apps: by their folders --- */

static bool look_at_app(struct package *package, const char *dir, const char *path, struct err *err)
{
    if (package->target || !is_there(path))
        return true;
    if (plugin_dir_is_builtin(dir))
        return err_set(err, "BUILT_IN_WORKER_REPLACE_FORBIDDEN",
                       "%s@%s is built in and cannot be replaced", package->name, package->version);
    if (!is_replaceable(path, err))
        return false;
    found_at(package, path, package->version);
    return true;
}

static bool find_app(struct package *package, struct err *err)
{
    bool ok = true;

    for (char *const *dir = dirs_of(package); ok && *dir; dir++) {
        char *flat = mem_printf("%s/%s@%s", *dir, package->name, package->version);
        char *nested = mem_printf("%s/%s/%s", *dir, package->name, package->version);
        ok = look_at_app(package, *dir, flat, err) && look_at_app(package, *dir, nested, err);
        free(flat);
        free(nested);
    }
    return ok;
}

/* --- both --- */

static bool choose_app_folder(struct package *package, const char *home, struct err *err)
{
    char *folder = path_join(home, package->name);
    const bool ok = !manifest_exists(folder) ||
                    taken(err, folder, "is an app without a version; remove it first");

    if (ok)
        package->target = path_join(folder, package->version);
    free(folder);
    return ok;
}

static bool choose_folder(struct package *package, struct err *err)
{
    const char *home = package_home(package, err);

    if (!home)
        return false;
    if (package->kind == PACKAGE_APP)
        return choose_app_folder(package, home, err);
    package->target = path_join(home, package->name);
    return !is_there(package->target) ||
           taken(err, package->target, "is there already and is not that plugin");
}

bool package_find(struct package *package, struct err *err)
{
    return package->kind == PACKAGE_PLUGIN ? find_plugin(package, err) : find_app(package, err);
}

bool package_settle(struct package *package, struct err *err)
{
    return package_find(package, err) && (package->target || choose_folder(package, err));
}

const char *package_home_of(const struct package *package)
{
    const char *home = NULL;

    for (char *const *dir = dirs_of(package); *dir; dir++) {
        const size_t len = length_of(*dir);
        if (strncmp(package->target, *dir, len) != 0 || package->target[len] != '/')
            continue;
        if (!home || len > length_of(home))
            home = *dir;
    }
    return home;
}
