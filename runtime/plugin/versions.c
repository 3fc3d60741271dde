#include "plugin/versions.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/semver.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "plugin/tree.h"

enum { ID_DIGITS = 15, VERSION_MAX = 100 };

bool versions_name_is_sound(const char *name)
{
    if (manifest_name_is_valid(name))
        return true;
    return *name && *name != '.' && *name != '@' && !strchr(name, '/') && strlen(name) < 256;
}

static char *folder_of(const struct settings *settings, const char *name)
{
    return mem_printf("%s/versions/%s", settings->state_dir, name);
}

/* --- listing --- */

/* "001764043200123-1.0.0", or without a version. */
static bool parse_id(const char *id, struct kept_version *kept)
{
    char *end;

    kept->kept_ms = strtoull(id, &end, 10);
    if (end != id + ID_DIGITS || (*end && *end != '-'))
        return false;
    kept->version = *end ? mem_copy(end + 1) : NULL;
    return true;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name);
}

void versions_list(const struct settings *settings, const char *name, struct kept_list *list)
{
    char *folder = folder_of(settings, name);
    struct dirent **entries;
    const int count =
        versions_name_is_sound(name) ? scandir(folder, &entries, NULL, newest_first) : -1;

    *list = (struct kept_list){0};
    if (count > 0)
        list->items = mem_alloc((size_t)count * sizeof(*list->items));
    for (int i = 0; i < count; i++) {
        struct kept_version *kept = &list->items[list->len];
        if (parse_id(entries[i]->d_name, kept)) {
            kept->path = path_join(folder, entries[i]->d_name);
            list->len++;
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    free(folder);
}

void kept_fini(struct kept_list *list)
{
    for (size_t i = 0; i < list->len; i++) {
        free(list->items[i].path);
        free(list->items[i].version);
    }
    free(list->items);
    *list = (struct kept_list){0};
}

/* --- keeping --- */

static uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A version that is none is not written into a name. */
static const char *sound(const char *version)
{
    struct semver parsed;

    return version && strlen(version) <= VERSION_MAX && semver_parse(str_of(version), &parsed)
               ? version
               : NULL;
}

/* A path that sorts behind all that is there. */
static char *new_path(const struct settings *settings, const char *name, const char *version)
{
    struct kept_list list;
    uint64_t at = wall_ms();
    char *folder = folder_of(settings, name), *path;

    versions_list(settings, name, &list);
    if (list.len > 0 && at <= list.items[0].kept_ms)
        at = list.items[0].kept_ms + 1;
    kept_fini(&list);
    path = mem_printf("%s/%0*" PRIu64 "%s%s", folder, ID_DIGITS, at, version ? "-" : "",
                      version ? version : "");
    free(folder);
    return path;
}

static bool not_kept(struct err *err)
{
    return tree_err(err, "the version that is replaced cannot be kept");
}

static bool copy_to(const char *dir, const char *folder, const char *path, struct err *err)
{
    char *half = mem_printf("%s/.half", folder);
    bool ok;

    tree_remove(half);
    ok = tree_copy(dir, half, err);
    if (ok && rename(half, path) != 0)
        ok = not_kept(err);
    if (!ok)
        tree_remove(half);
    free(half);
    return ok;
}

bool versions_keep(const struct settings *settings,
                   const char *name,
                   const char *version,
                   const char *dir,
                   struct err *err)
{
    char *folder = folder_of(settings, name);
    char *path = new_path(settings, name, sound(version));
    bool ok = tree_make(folder, 0700) || not_kept(err);

    if (ok && rename(dir, path) != 0)
        ok = errno == EXDEV ? copy_to(dir, folder, path, err) : not_kept(err);
    if (ok)
        tree_sync(folder);
    free(folder);
    free(path);
    return ok;
}

void versions_prune(const struct settings *settings, const char *name)
{
    char *folder = folder_of(settings, name), *half = path_join(folder, ".half");
    struct kept_list list;

    tree_remove(half);
    versions_list(settings, name, &list);
    for (size_t i = VERSIONS_KEPT; i < list.len; i++)
        tree_remove(list.items[i].path);
    kept_fini(&list);
    rmdir(folder); /* when there is none left */
    free(half);
    free(folder);
}
