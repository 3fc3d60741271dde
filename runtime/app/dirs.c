#include "app/dirs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/path.h"
#include "conf/manifest.h"
#include "plugin/discover.h"
#include "worker/folders.h"

/* --- what a folder is --- */

static bool has_plugin_code(const char *dir)
{
    char *path = path_join(dir, "plugin.lua");
    const bool has = path_is_file(path);

    free(path);
    return has;
}

/* One with an entry for processes or a page, and with nothing of a plugin's. */
static bool is_app(const struct settings *settings, const char *dir)
{
    const struct app_place place = {.dir = dir, .name = "app"};
    struct problems problems = {0};
    struct manifest *manifest;
    bool is;

    if (!app_folder_is(dir) || has_plugin_code(dir))
        return false;
    manifest = manifest_read_app(&place, settings, &problems);
    is = (manifest->root || !manifest_exists(dir)) && !value_get(manifest->root, "base") &&
         !value_get(manifest->root, "pluginEntry") && manifest->entrypoint;
    manifest_unref(manifest);
    problems_fini(&problems);
    return is;
}

static bool has_plugins(const struct settings *settings, char *const *dir)
{
    struct found_list found;
    bool has = false;

    discover(dir, &found);
    for (size_t i = 0; i < found.len; i++)
        has = has || !is_app(settings, found.items[i].dir);
    found_fini(&found);
    return has;
}

static bool has_apps(char *const *dir)
{
    struct app_folders found;
    bool has;

    app_folders_find(dir, &found);
    has = found.len > 0;
    app_folders_fini(&found);
    return has;
}

static bool is_for_apps(const struct settings *settings, char *word)
{
    char *const dir[] = {word, NULL};

    return is_app(settings, word) || (!manifest_exists(word) && !has_plugins(settings, dir) &&
                                      !has_plugin_code(word) && has_apps(dir));
}

/* --- the lists --- */

static void empty(struct string_list *list, size_t room)
{
    for (size_t i = 0; i < list->len; i++)
        free(list->items[i]);
    list->items = mem_resize(list->items, (room + 1) * sizeof(*list->items));
    list->items[0] = NULL;
    list->len = 0;
}

static void add(struct string_list *list, const char *text)
{
    list->items[list->len++] = mem_copy(text);
    list->items[list->len] = NULL;
}

void dirs_use(struct settings *settings, char *const *words)
{
    size_t len = 0;

    while (words[len])
        len++;
    if (len == 0)
        return;
    empty(&settings->plugin_dirs, len);
    empty(&settings->worker_dirs, len);
    for (size_t i = 0; i < len; i++) {
        const bool apps = is_for_apps(settings, words[i]);
        add(apps ? &settings->worker_dirs : &settings->plugin_dirs, words[i]);
    }
}
