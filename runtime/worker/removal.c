#include "worker/removal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "worker/app_set.h"

/* --- what --- */

static void add(char ***list, size_t *len, const char *text)
{
    *list = mem_resize(*list, (*len + 1) * sizeof(**list));
    (*list)[(*len)++] = mem_copy(text);
}

static char *without_slashes(const char *dir)
{
    char *copy = mem_copy(path_tidy(dir));
    size_t len = strlen(copy);

    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    return copy;
}

bool app_removal_plan(struct app_removal *removal,
                      const struct app_set *set,
                      const char *name,
                      const char *version,
                      char *const *roots)
{
    *removal = (struct app_removal){0};
    for (size_t i = 0; i < set->len; i++) {
        const struct app_entry *entry = &set->entries[i];
        if (strcmp(entry->name, name) != 0 ||
            (version && strcmp(app_entry_version(entry), version) != 0)) {
            add(&removal->kept, &removal->kept_len, entry->dir);
            continue;
        }
        add(&removal->dirs, &removal->len, entry->dir);
        removal->builtin = removal->builtin || entry->builtin;
    }
    for (; *roots; roots++) {
        char *root = without_slashes(*roots);
        add(&removal->roots, &removal->root_len, root);
        free(root);
    }
    return removal->len > 0;
}

static void free_list(char **list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(list[i]);
    free(list);
}

void app_removal_fini(struct app_removal *removal)
{
    free_list(removal->dirs, removal->len);
    free_list(removal->kept, removal->kept_len);
    free_list(removal->roots, removal->root_len);
    *removal = (struct app_removal){0};
}

/* --- removing --- */

static bool remove_at(int parent, const char *name);

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool empty_at(int parent, const char *name)
{
    const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    bool ok = true;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    while ((entry = readdir(dir))) {
        if (!is_dots(entry->d_name))
            ok = remove_at(fd, entry->d_name) && ok;
    }
    closedir(dir);
    return ok;
}

static bool remove_at(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return false;
    return empty_at(parent, name) && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

static bool failed(struct err *err, const char *dir)
{
    return err_set(err, "IO", "%s cannot be removed: %s", dir, strerror(errno));
}

/* In one step out of sight, then at leisure. */
static bool remove_tree(const char *dir, struct err *err)
{
    const char *name = path_name(dir);
    char *hidden = mem_printf("%.*s.removed-%s", (int)(name - dir), dir, name);
    bool ok;

    remove_at(AT_FDCWD, hidden);
    if (rename(dir, hidden) == 0)
        ok = remove_at(AT_FDCWD, hidden);
    else
        ok = errno == ENOENT || errno == ENOTDIR;
    free(hidden);
    return ok || failed(err, dir);
}

/* --- what lies in what --- */

static bool is_below(const char *path, const char *dir)
{
    const size_t len = strlen(dir);

    if (strcmp(dir, ".") == 0)
        return path[0] != '/';
    return strncmp(path, dir, len) == 0 && path[len] == '/';
}

static bool holds_kept(const struct app_removal *removal, const char *dir)
{
    for (size_t i = 0; i < removal->kept_len; i++) {
        if (strcmp(removal->kept[i], dir) == 0 || is_below(removal->kept[i], dir))
            return true;
    }
    return false;
}

/* All but the folders of apps that stay. */
static bool remove_around(const struct app_removal *removal, const char *dir, struct err *err)
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    bool ok = true;

    if (!entries)
        return failed(err, dir);
    while (ok && (entry = readdir(entries))) {
        char *path = path_join(dir, entry->d_name);
        if (!is_dots(entry->d_name) && !holds_kept(removal, path))
            ok = remove_at(AT_FDCWD, path) || failed(err, path);
        free(path);
    }
    closedir(entries);
    return ok;
}

static bool is_below_root(const struct app_removal *removal, const char *dir)
{
    for (size_t i = 0; i < removal->root_len; i++) {
        if (is_below(dir, removal->roots[i]))
            return true;
    }
    return false;
}

/* hello/ of hello/1.0.0/, and @acme/, when they are empty now. */
static void remove_parents(const struct app_removal *removal, const char *dir)
{
    char *path = mem_copy(dir), *slash;

    while ((slash = strrchr(path, '/')) && slash > path) {
        *slash = '\0';
        if (!is_below_root(removal, path) || rmdir(path) != 0)
            break;
    }
    free(path);
}

bool app_removal_run(const struct app_removal *removal, struct err *err)
{
    for (size_t i = 0; i < removal->len; i++) {
        const char *dir = removal->dirs[i];
        const bool ok =
            holds_kept(removal, dir) ? remove_around(removal, dir, err) : remove_tree(dir, err);
        if (!ok)
            return false;
        remove_parents(removal, dir);
    }
    return true;
}
