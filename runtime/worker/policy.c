#include "worker/policy.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/path.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "worker/app.h"

/* None of it tells anything of this server. What is not there does not matter. */
static const char *const of_every_process[] = {
    "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
    /* shared libraries: libcurl and libpq are loaded when they are wanted; Lua modules */
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
    "/usr/share/lua", "/usr/local/share/lua", "/usr/share/luajit-2.1",
    "/usr/share/luajit-2.1.0-beta3",
    /* certificates, but no keys */
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
    "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
    /* time zones, names of services */
    "/usr/share/zoneinfo", "/etc/localtime", "/etc/timezone", "/etc/services", "/etc/protocols",
    "/etc/gai.conf"};

struct list {
    char **items;
    size_t len;
};

/* Takes `path` over. */
static void add(struct list *list, char *path)
{
    list->items = mem_resize(list->items, (list->len + 2) * sizeof(*list->items));
    list->items[list->len++] = path;
    list->items[list->len] = NULL;
}

/* --- what is the server's own --- */

static bool is_below(const char *path, const char *folder)
{
    const size_t len = strlen(folder);

    return strcmp(folder, "/") == 0 ||
           (strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0'));
}

static void add_own(struct list *own, const char *path)
{
    char *real = path && *path ? realpath(path, NULL) : NULL;

    if (real)
        add(own, real);
}

static void add_own_dirs(struct list *own, const struct string_list *dirs)
{
    for (size_t i = 0; i < dirs->len; i++)
        add_own(own, dirs->items[i]);
}

static struct list own_of(const struct settings *s)
{
    struct list own = {0};

    add_own(&own, s->state_dir);
    add_own_dirs(&own, &s->plugin_dirs);
    add_own_dirs(&own, &s->worker_dirs);
    add_own(&own, s->root_key_file);
    add_own(&own, s->env_file);
    add_own(&own, s->tls_key);
    add(&own, mem_copy("/proc"));
    add(&own, mem_copy("/sys"));
    add(&own, mem_copy("/dev"));
    return own;
}

/* `path` is, holds or lies in what is the server's; but an app's own folder is the app's. */
static const char *find_own(const struct list *own, const char *app_dir, const char *path)
{
    if (is_below(path, app_dir))
        return NULL;
    for (size_t i = 0; i < own->len; i++) {
        if (is_below(path, own->items[i]) || is_below(own->items[i], path))
            return own->items[i];
    }
    return NULL;
}

static void list_fini(struct list *list)
{
    for (size_t i = 0; i < list->len; i++)
        free(list->items[i]);
    free(list->items);
}

/* --- the manifest's folders --- */

struct making {
    const char *app_dir; /* absolute, links resolved */
    struct list own;
    struct err *err;
};

static bool refuse(const struct making *m, const char *key, const char *entry, const char *why)
{
    return err_set(m->err, "SANDBOX_REFUSED", "permissions.%s: \"%s\" %s", key, entry, why);
}

/* Where a folder that is not there yet would be: the one that it lies in must be there. */
static char *future_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash == path ? mem_copy("/") : mem_copy_n(path, (size_t)(slash - path));
    char *real = path_stays_below(slash + 1) ? realpath(parent, NULL) : NULL;
    char *future = real ? path_join(real, slash + 1) : NULL;

    free(parent);
    free(real);
    return future;
}

static bool
add_entry(const struct making *m, struct list *list, const char *key, const char *entry, bool make)
{
    char *path = *entry == '/' ? mem_copy(entry) : path_join(m->app_dir, entry);
    char *real = realpath(path, NULL);
    const bool new = !real &&make &&errno == ENOENT;

    if (new)
        real = future_path(path);
    free(path);
    if (!real)
        return refuse(m, key, entry, new ? strerror(ENOENT) : strerror(errno));
    if (find_own(&m->own, m->app_dir, real)) {
        free(real);
        return refuse(m, key, entry, "is the server's own and no app's");
    }
    add(list, real);
    return !new || mkdir(real, 0755) == 0 || errno == EEXIST ||
           refuse(m, key, entry, strerror(errno));
}

static bool add_entries(const struct making *m,
                        struct list *list,
                        const char *key,
                        const char *const *entries,
                        bool make)
{
    for (; *entries; entries++) {
        if (!add_entry(m, list, key, *entries, make))
            return false;
    }
    return true;
}

static void add_common(struct list *read, const char *app_dir)
{
    const char *library = getenv("BUNTIME_LUA_DIR");

    add(read, mem_copy(app_dir));
    for (size_t i = 0; i < sizeof(of_every_process) / sizeof(of_every_process[0]); i++)
        add(read, mem_copy(of_every_process[i]));
    add_own(read, library);
}

static bool fill(struct policy *policy,
                 const struct app *app,
                 const struct settings *settings,
                 char *app_dir,
                 const char *temp_dir,
                 struct err *err)
{
    struct making m = {.app_dir = app_dir, .own = own_of(settings), .err = err};
    const struct permissions *asked = &app->manifest->permissions;
    struct list read = {0}, write = {0};
    size_t folders;
    bool ok;

    add_common(&read, app_dir);
    ok = add_entries(&m, &write, "write", asked->write, true) &&
         add_entries(&m, &read, "read", asked->read, false);
    folders = write.len;
    add_own(&write, temp_dir);
    add(&write, mem_copy("/dev/null"));
    *policy = (struct policy){.read = read.items, .write = write.items};
    policy->data = folders > 0 ? write.items[0] : write.items[write.len - 2];
    list_fini(&m.own);
    return ok;
}

struct policy *policy_new(const struct app *app,
                          const struct settings *settings,
                          const char *temp_dir,
                          struct err *err)
{
    struct policy *policy = mem_alloc(sizeof(*policy));
    char *app_dir = realpath(app->dir, NULL);
    bool ok;

    if (app_dir)
        ok = fill(policy, app, settings, app_dir, temp_dir, err);
    else
        ok = err_set(err, "SANDBOX_REFUSED", "%s: %s", app->dir, strerror(errno));
    free(app_dir);
    if (ok)
        return policy;
    policy_free(policy);
    return NULL;
}

static void free_texts(char **texts)
{
    for (size_t i = 0; texts && texts[i]; i++)
        free(texts[i]);
    free(texts);
}

void policy_free(struct policy *policy)
{
    if (!policy)
        return;
    free_texts(policy->read);
    free_texts(policy->write);
    free(policy);
}
