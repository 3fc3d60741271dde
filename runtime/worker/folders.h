/* Finds the folders of worker apps in RUNTIME_WORKER_DIRS, in all of their layouts (SPEC 9):
 *
 *   hello@1.0.0/    hello/1.0.0/    hello/ (its `latest`)    and the same below @scope/
 *
 * `latest` may stand for the version. A directory that has a manifest or an index.lua is an app
 * itself and no folder of apps, which is how the commands are given one. Reads directory entries
 * only; sorted by name; names that start with "." are skipped, folders without an app too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct app_folder {
    char *dir;     /* as found from the working directory */
    char *name;    /* "hello", "@acme/hello" */
    char *version; /* NULL: latest */
    bool builtin;
    bool named;    /* false: the directory itself, whose name may be any */
    char *problem; /* what is wrong with the folder's name, or NULL */
};

struct app_folders {
    struct app_folder *items;
    size_t len;
    char **missing; /* directories that could not be read: "dir: reason" */
    size_t missing_len;
};

void app_folders_find(char *const *dirs, struct app_folders *list);
void app_folders_fini(struct app_folders *list);

/* Whether `dir` is an app: it has a manifest, an index.lua or an index.html. */
bool app_folder_is(const char *dir);
