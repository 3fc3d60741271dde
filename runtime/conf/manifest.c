#include "conf/manifest.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/path.h"
#include "conf/manifest_impl.h"
#include "conf/yaml.h"

enum { FILE_MAX = 1024 * 1024 };

struct shared {
    struct manifest manifest; /* first: unref casts back */
    unsigned refs;
    struct arena arena;
};

static const char *const file_names[] = {"manifest.yaml", "manifest.yml", NULL};
static const char *const no_names[] = {NULL};

/* A symbolic link that leads nowhere counts: saying so is better than seeing no plugin. */
static bool is_there(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && (S_ISREG(info.st_mode) || S_ISLNK(info.st_mode));
}

/* The manifest file of `dir`, freed by the caller, or NULL. */
static char *find_file(const char *dir)
{
    for (const char *const *name = file_names; *name; name++) {
        char *path = path_join(dir, *name);
        if (is_there(path))
            return path;
        free(path);
    }
    return NULL;
}

bool manifest_exists(const char *dir)
{
    char *path = find_file(dir);

    free(path);
    return path != NULL;
}

bool manifest_is_metadata(const char *key)
{
    return manifest_key_find(key) != NULL;
}

static bool load_text(const struct report *r, struct buf *text)
{
    struct err err;
    const size_t prefix = strlen(r->file) + 2; /* the report names the file itself */

    if (path_place(r->dir, r->file) == PATH_OUTSIDE)
        return report_file(r, "leaves the plugin's folder by a symbolic link");
    if (file_read(r->file, FILE_MAX, text, &err))
        return true;
    if (strcmp(err.code, "TOO_LARGE") == 0)
        return report_file(r, "larger than 1 MiB");
    return report_file(r, "%s", err.message + (strlen(err.message) > prefix ? prefix : 0));
}

static void parse(const struct report *r, struct manifest *m, struct str text)
{
    const size_t errors = r->problems->errors;
    const struct value *root = yaml_read(r->arena, text, r->file, r->code, r->problems);

    if (!root && r->problems->errors == errors)
        report_file(r, "the manifest is empty");
    if (root && report_type(r, "the manifest", root, VALUE_MAP))
        m->root = root;
}

/* A key that the plugin declares as its own field is not the worker's. */
static bool is_own_field(const struct manifest *m, const struct manifest_key *key)
{
    return key->of_workers && !m->entrypoint && value_get(m->config, key->name);
}

static void read_keys(const struct report *r, struct manifest *m, const struct app_place *app)
{
    const char *names[MANIFEST_KEYS_MAX];

    for (const struct manifest_key *key = manifest_keys; key->name; key++) {
        const struct value *value = value_get(m->root, key->name);
        if (value && (app || !is_own_field(m, key)))
            key->read(r, m, value);
    }
    if (!app && !value_get(m->root, "name"))
        report_file(r, "name is missing");
    manifest_key_names(names);
    for (size_t i = 0; i < m->root->map.len; i++) {
        const struct value_entry *entry = &m->root->map.entries[i];
        if (!value_get(m->config, entry->key.at))
            report_near_miss(r, entry, "", names);
    }
    if (app)
        manifest_read_app_entry(r, m);
    else
        manifest_read_entries(r, m);
}

/* One of `what` that the manifest says and the folder says otherwise. */
static void
check_said(const struct report *r, const struct manifest *m, const char *what, const char *folder)
{
    const struct value *said = value_get(m->root, what);

    if (said && said->type == VALUE_STRING && strcmp(said->string.at, folder) != 0)
        report_at(r, said, "%s %s is not what the folder says: \"%s\"", what,
                  report_quote(r, said->string), folder);
}

/* The folder's word goes where both speak, so that the rest of the answer is about that app. */
static void check_place(const struct report *r, struct manifest *m, const struct app_place *app)
{
    const struct value *said;

    if (app->named) {
        check_said(r, m, "name", app->name);
        if (app->version)
            check_said(r, m, "version", app->version);
    }
    if (app->named || !m->name)
        m->name = arena_copy(r->arena, str_of(app->name));
    if (app->version && (app->named || !m->version))
        m->version = arena_copy(r->arena, str_of(app->version));
    said = value_get(m->root, "base");
    if (said)
        report_warning(r, said->line, said->column,
                       "base is a plugin's; this app answers at \"/%s\"", m->name);
    m->base = NULL;
}

static void read_into(const struct report *r, struct manifest *m, const struct app_place *app)
{
    const size_t from = r->problems->len;
    struct buf text = {0};

    if (load_text(r, &text))
        parse(r, m, buf_str(&text));
    buf_fini(&text);
    if (m->root)
        read_keys(r, m, app);
    if (app)
        check_place(r, m, app);
    problems_sort(r->problems, from);
}

enum { APP_TIMEOUT_MS = 30000, APP_MAX_REQUESTS = 1000 };

static struct shared *new_manifest(const char *dir, const char *file)
{
    struct shared *shared = mem_alloc(sizeof(*shared));

    shared->refs = 1;
    shared->manifest = (struct manifest){
        .dir = arena_copy(&shared->arena, str_of(path_tidy(dir))),
        .file = arena_copy(&shared->arena, str_of(path_tidy(file))),
        .enabled = true,
        .dependencies = no_names,
        .optional_dependencies = no_names,
        .timeout = APP_TIMEOUT_MS,
        .max_requests = APP_MAX_REQUESTS,
        .permissions = {no_names, no_names, no_names, no_names},
    };
    return shared;
}

static struct shared *read_manifest(const char *dir,
                                    const struct app_place *app,
                                    const struct settings *settings,
                                    struct problems *problems)
{
    char *file = find_file(dir);
    struct shared *shared = new_manifest(dir, file ? file : dir);
    const struct report r = {.arena = &shared->arena,
                             .problems = problems,
                             .code = "MANIFEST_INVALID",
                             .file = shared->manifest.file,
                             .dir = shared->manifest.dir,
                             .settings = settings};

    if (file) {
        read_into(&r, &shared->manifest, app);
    } else if (app) {
        manifest_read_app_entry(&r, &shared->manifest);
        check_place(&r, &shared->manifest, app);
    } else {
        report_file(&r, "no manifest.yaml");
    }
    free(file);
    return shared;
}

struct manifest *
manifest_read(const char *dir, const struct settings *settings, struct problems *problems)
{
    struct shared *shared = read_manifest(dir, NULL, settings, problems);

    if (shared->manifest.name)
        return &shared->manifest;
    manifest_unref(&shared->manifest);
    return NULL;
}

struct manifest *manifest_read_app(const struct app_place *place,
                                   const struct settings *settings,
                                   struct problems *problems)
{
    return &read_manifest(place->dir, place, settings, problems)->manifest;
}

static const char *copy_text(struct arena *arena, const char *text)
{
    return text ? arena_copy(arena, str_of(text)) : NULL;
}

struct manifest *
manifest_told(const char *name, const char *version, const char *base, const char *dir)
{
    struct shared *shared = new_manifest(dir, dir);
    struct manifest *manifest = &shared->manifest;

    manifest->name = copy_text(&shared->arena, name);
    manifest->version = copy_text(&shared->arena, version);
    manifest->base = copy_text(&shared->arena, base);
    return manifest;
}

struct manifest *manifest_ref(struct manifest *manifest)
{
    ((struct shared *)manifest)->refs++;
    return manifest;
}

void manifest_unref(struct manifest *manifest)
{
    struct shared *shared = (struct shared *)manifest;

    if (!manifest || --shared->refs > 0)
        return;
    arena_fini(&shared->arena);
    free(shared);
}
