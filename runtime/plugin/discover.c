#include "plugin/discover.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "conf/manifest.h"
#include "conf/settings.h"

static void add(struct found_list *list, char *dir, bool builtin)
{
    list->items = mem_resize(list->items, (list->len + 1) * sizeof(*list->items));
    list->items[list->len++] = (struct found){dir, builtin};
}

static void add_missing(struct found_list *list, const char *dir)
{
    list->missing = mem_resize(list->missing, (list->missing_len + 1) * sizeof(char *));
    list->missing[list->missing_len++] = mem_printf("%s: %s", dir, strerror(errno));
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The folders below `dir`; `scoped` says that it is an @scope itself. */
static void scan(struct found_list *list, const char *dir, bool builtin, bool scoped)
{
    struct dirent **entries;
    const int count = scandir(dir, &entries, visible, by_bytes);

    if (count < 0) {
        add_missing(list, dir);
        return;
    }
    for (int i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", dir, entries[i]->d_name);
        if (is_dir(path) && manifest_exists(path)) {
            add(list, mem_copy(path), builtin);
        } else if (!scoped && entries[i]->d_name[0] == '@' && is_dir(path)) {
            scan(list, path, builtin, true);
        }
        free(path);
        free(entries[i]);
    }
    free(entries);
}

void discover(char *const *plugin_dirs, struct found_list *list)
{
    *list = (struct found_list){0};
    for (; *plugin_dirs; plugin_dirs++) {
        const bool builtin = plugin_dir_is_builtin(*plugin_dirs);
        char *dir = mem_copy(*plugin_dirs);
        size_t len = strlen(dir);

        while (len > 1 && dir[len - 1] == '/')
            dir[--len] = '\0';
        if (manifest_exists(dir))
            add(list, mem_copy(dir), builtin);
        scan(list, dir, builtin, false);
        free(dir);
    }
}

void found_fini(struct found_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        free(list->items[i].dir);
    for (size_t i = 0; i < list->missing_len; i++)
        free(list->missing[i]);
    free(list->items);
    free(list->missing);
}
