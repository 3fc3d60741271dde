/* Finds plugin folders: a plugin directory itself, NAME/ and @scope/NAME/ below it. Reads
 * directory entries only. Sorted by name; names starting with "." are skipped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct found {
    char *dir; /* as found from the working directory */
    bool builtin;
};

struct found_list {
    struct found *items;
    size_t len;
    char **missing; /* plugin directories that could not be read: "dir: reason" */
    size_t missing_len;
};

/* The caller owns `list`; found_fini() frees what is in it. */
void discover(char *const *plugin_dirs, struct found_list *list);
void found_fini(struct found_list *list);
