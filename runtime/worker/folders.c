#include "worker/folders.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/semver.h"
#include "conf/manifest.h"
#include "conf/settings.h"

/* What is being looked at. */
struct place {
    struct app_folders *list;
    const char *dir;
    const char *scope; /* "@acme", or NULL */
    bool builtin;
};

static bool has_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    const bool is = path_is_file(path);

    free(path);
    return is;
}

bool app_folder_is(const char *dir)
{
    return manifest_exists(dir) || has_file(dir, "index.lua") || has_file(dir, "index.html");
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* --- one folder --- */

static bool is_version(const char *text)
{
    struct semver version;

    return semver_parse(str_of(text), &version);
}

/* Takes "hello@1.0.0" apart. */
static void split(const char *folder, char **name, char **version)
{
    const char *at = strchr(folder, '@');

    *name = at ? mem_copy_n(folder, (size_t)(at - folder)) : mem_copy(folder);
    *version = at && strcmp(at, "@latest") != 0 ? mem_copy(at + 1) : NULL;
}

static char *problem_of(const struct app_folder *f)
{
    if (!manifest_name_is_valid(f->name))
        return mem_printf(
            "\"%s\" is not a name of an app: letters, digits, \".\", \"_\" and \"-\", "
            "and @version behind it",
            f->name);
    if (f->version && !is_version(f->version))
        return mem_printf("\"%s\" is not a semantic version such as 1.0.0 or 2.1.0-rc.1",
                          f->version);
    return NULL;
}

/* Takes the texts over. */
static void add(const struct place *at, char *dir, char *name, char *version, bool named)
{
    struct app_folders *list = at->list;
    struct app_folder *f;

    list->items = mem_resize(list->items, (list->len + 1) * sizeof(*list->items));
    f = &list->items[list->len++];
    *f = (struct app_folder){
        .dir = dir, .name = name, .version = version, .builtin = at->builtin, .named = named};
    if (at->scope) {
        f->name = mem_printf("%s/%s", at->scope, name);
        free(name);
    }
    f->problem = problem_of(f);
}

/* --- folders of folders --- */

/* Calls `look` for each folder in at->dir, which may be a symbolic link. */
static bool each_folder(const struct place *at,
                        void (*look)(const struct place *at, const char *name, const char *path))
{
    struct dirent **entries;
    const int count = scandir(at->dir, &entries, visible, by_bytes);

    if (count < 0)
        return false;
    for (int i = 0; i < count; i++) {
        char *path = path_join(at->dir, entries[i]->d_name);
        if (path_is_dir(path))
            look(at, entries[i]->d_name, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return true;
}

/* NAME/1.0.0/: of a folder's folders only those count that are named as versions. */
static void look_for_version(const struct place *at, const char *name, const char *path)
{
    const bool latest = strcmp(name, "latest") == 0;

    if ((latest || is_version(name)) && app_folder_is(path))
        add(at, mem_copy(path), mem_copy(path_name(at->dir)), latest ? NULL : mem_copy(name), true);
}

static void look_for_app(const struct place *at, const char *name, const char *path)
{
    struct place below = *at;
    char *plain, *version;

    if (app_folder_is(path)) {
        split(name, &plain, &version);
        add(at, mem_copy(path), plain, version, true);
    }
    below.dir = path;
    if (!strchr(name, '@'))
        each_folder(&below, look_for_version);
}

static void look(const struct place *at, const char *name, const char *path)
{
    const struct place below = {at->list, path, name, at->builtin};

    if (name[0] == '@')
        each_folder(&below, look_for_app);
    else
        look_for_app(at, name, path);
}

/* --- the directories --- */

/* An app's folder that is named by itself: the name comes from the manifest, else from here. */
static void add_itself(const struct place *at)
{
    char *real = realpath(at->dir, NULL);
    char *name, *version;

    split(real ? path_name(real) : path_name(at->dir), &name, &version);
    if (!manifest_name_is_valid(name) || (version && !is_version(version))) {
        free(version);
        version = NULL;
    }
    add(at, mem_copy(at->dir), name, version, false);
    free(real);
}

static void look_at_dir(struct app_folders *list, const char *dir, bool builtin)
{
    const struct place at = {list, dir, NULL, builtin};

    if (manifest_exists(dir) || has_file(dir, "index.lua")) {
        add_itself(&at);
    } else if (!each_folder(&at, look)) {
        list->missing = mem_resize(list->missing, (list->missing_len + 1) * sizeof(*list->missing));
        list->missing[list->missing_len++] = mem_printf("%s: %s", dir, strerror(errno));
    }
}

void app_folders_find(char *const *dirs, struct app_folders *list)
{
    *list = (struct app_folders){0};
    for (; *dirs; dirs++) {
        char *dir = mem_copy(path_tidy(*dirs));
        size_t len = strlen(dir);

        while (len > 1 && dir[len - 1] == '/')
            dir[--len] = '\0';
        look_at_dir(list, dir, plugin_dir_is_builtin(*dirs));
        free(dir);
    }
}

void app_folders_fini(struct app_folders *list)
{
    for (size_t i = 0; i < list->len; i++) {
        free(list->items[i].dir);
        free(list->items[i].name);
        free(list->items[i].version);
        free(list->items[i].problem);
    }
    for (size_t i = 0; i < list->missing_len; i++)
        free(list->missing[i]);
    free(list->items);
    free(list->missing);
    *list = (struct app_folders){0};
}
