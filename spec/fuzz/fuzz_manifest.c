/* A byte that picks a plugin or an app, and its manifest.yaml. One without errors keeps what the
 * rest of the program relies on, and is the same when read again; its configuration is typed as
 * declared; problems are one line each and show no password.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/path.h"
#include "base/semver.h"
#include "conf/fields.h"
#include "conf/manifest.h"
#include "conf/settings.h"

static char dir[64];

/* --- the folder --- */

static void make_file(const char *name, struct str text)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, text.at, text.len) == (ssize_t)text.len);
    close(fd);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(void)
{
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuzz-XXXXXX" : "/tmp/fuzz-XXXXXX");
    require(mkdtemp(dir) != NULL);
    atexit(remove_folder);
    make_file("plugin.lua", STR("return {}"));
    make_file("index.lua", STR("return {}"));
    make_file("index.html", STR("<p>"));
}

/* --- the manifest --- */

static void check_names(const char *const *names)
{
    for (; *names; names++)
        require(manifest_name_is_valid(*names));
}

static void check_entry(const char *entry, const char *extension)
{
    char path[4096];

    if (!entry)
        return;
    require(path_stays_below(entry) && path_has_extension(entry, extension));
    snprintf(path, sizeof(path), "%s/%s", dir, entry);
    require(path_is_file(path) && path_place(dir, path) == PATH_INSIDE);
}

static void check_menus(const struct manifest_menu *menus, size_t count, unsigned depth)
{
    require(depth < 64);
    for (size_t i = 0; i < count; i++) {
        require(menus[i].title && *menus[i].title && menus[i].path && *menus[i].path);
        check_menus(menus[i].items, menus[i].item_count, depth + 1);
    }
}

static void check_base(const char *base)
{
    const char *reserved[] = {"/api", "/health", "/.well-known", "/_"};

    if (!base)
        return;
    require(base[0] == '/' && !strchr(base + 1, '/') && !strpbrk(base, ".%?#:* "));
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        require(strcmp(base, reserved[i]) != 0);
}

static void check_manifest(const struct manifest *m, bool app)
{
    struct semver version;

    require(manifest_name_is_valid(m->name));
    require(!m->version || semver_parse(str_of(m->version), &version));
    require(!app || (!m->base && !m->entry && m->entrypoint));
    check_base(m->base);
    check_entry(m->entry, ".lua");
    check_entry(m->entrypoint, m->entrypoint_is_html ? ".html" : ".lua");
    require(m->entry || m->entrypoint);
    check_names(m->dependencies);
    check_names(m->optional_dependencies);
    for (size_t i = 0; i < m->public_route_count; i++)
        require(m->public_routes[i].pattern[0] == '/');
    check_menus(m->menus, m->menu_count, 0);
    require(m->memory == 0 || m->memory >= 1 << 20);
    require(m->max_body_size <= 100 << 20 && m->timeout > 0);
}

/* --- its configuration --- */

static const char secret[] = "q7-geheim-7q";

static const char *get_env(const struct env_source *source, const char *name)
{
    (void)source;
    return strchr(name, 'X') ? NULL : strchr(name, 'N') ? "17" : secret;
}

static const struct env_source env = {get_env};

/* Whether every declared field is a password, which is then nowhere to be seen. */
static bool only_passwords(const struct manifest *m)
{
    for (size_t i = 0; m->config && i < m->config->map.len; i++) {
        const struct value *type = value_get(m->config->map.entries[i].value, "type");
        if (!type || type->type != VALUE_STRING || !str_equal(type->string, STR("password")))
            return false;
    }
    return true;
}

static const char *declared_type(const struct manifest *m, const char *key)
{
    const struct value *type = value_get(value_get(m->config, key), "type");

    return type && type->type == VALUE_STRING ? type->string.at : "";
}

static void check_item(const struct manifest *m, const struct config_item *item)
{
    static const struct {
        const char *name;
        enum value_type type;
    } types[] = {{"string", VALUE_STRING}, {"password", VALUE_STRING}, {"number", VALUE_NUMBER},
                 {"boolean", VALUE_BOOL},  {"array", VALUE_LIST},      {"object", VALUE_MAP}};
    const char *declared = declared_type(m, item->key);

    require(!item->value == (item->source == CONFIG_NONE) || strcmp(declared, "object") == 0);
    require(item->secret || strcmp(declared, "password") != 0);
    for (size_t i = 0; item->value && i < sizeof(types) / sizeof(types[0]); i++)
        require(strcmp(types[i].name, declared) != 0 || item->value->type == types[i].type);
}

static void check_problems(const struct problems *problems, bool no_secret)
{
    for (size_t i = 0; i < problems->len; i++) {
        const struct problem *problem = &problems->items[i];
        require(problem->message[0] && problem->code[0] && problem->file);
        require(!no_secret || !strstr(problem->message, secret));
        for (const char *c = problem->message; *c; c++)
            require((unsigned char)*c >= ' ' && *c != 0x7F);
    }
}

static void check_config(const struct manifest *m)
{
    struct problems problems = {0}, again = {0};
    struct config *config = config_resolve(m, &env, &problems);
    struct config *twin = config_resolve(m, &env, &again);
    char digest[65];

    config_env_digest(m, &env, digest);
    require(strlen(digest) == 64);
    require((config == NULL) == (problems.errors > 0) && problems.len == again.len);
    check_problems(&problems, only_passwords(m));
    if (config) {
        require(config_root(config)->type == VALUE_MAP);
        require(value_equal(config_root(config), config_root(twin)));
        for (size_t i = 0; i < config_item_count(config); i++)
            check_item(m, config_item_at(config, i));
    }
    config_free(config);
    config_free(twin);
    problems_fini(&problems);
    problems_fini(&again);
}

static struct manifest *read_it(bool app, struct problems *problems)
{
    static char api_prefix[] = "/_";
    const struct settings settings = {.api_prefix = api_prefix, .body_limit_max = 100 << 20};
    const struct app_place place = {dir, "shop", NULL, false};

    return app ? manifest_read_app(&place, &settings, problems)
               : manifest_read(dir, &settings, problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct problems problems = {0}, again = {0};
    const bool app = size > 0 && data[0] % 2;
    struct manifest *m, *twin;

    if (!*dir)
        make_folder();
    make_file("manifest.yaml", (struct str){(const char *)data + (size > 0), size - (size > 0)});
    m = read_it(app, &problems);
    twin = read_it(app, &again);
    check_problems(&problems, false);
    require((m == NULL) == (twin == NULL) && problems.len == again.len);
    require(m || problems.errors > 0);
    if (m && problems.errors == 0) {
        require(!m->root || value_equal(m->root, twin->root));
        check_manifest(m, app);
        check_config(m);
    }
    manifest_unref(m);
    manifest_unref(twin);
    problems_fini(&problems);
    problems_fini(&again);
    return 0;
}
