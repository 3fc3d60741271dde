#include "app/apps.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/auth.h"
#include "app/origin.h"
#include "app/server.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/path.h"
#include "bind/bind.h"
#include "conf/manifest.h"
#include "data/keyring.h"
#include "http/exchange.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "plugin/sources.h"
#include "vm/vm.h"
#include "worker/app.h"
#include "worker/pool.h"
#include "worker/registry.h"

/* --- the code of apps, compiled and not run --- */

struct compiler {
    struct server *server;
    struct vm *vm; /* made when there is something to compile */
    bool whole;    /* the folder, not just the entry */
};

static bool open_compiler(struct compiler *compiler, struct err *err)
{
    const struct vm_options options = {
        .name = "apps",
        .memory_limit = compiler->server->settings->vm_memory,
        .open = bind_open,
    };

    if (!compiler->vm)
        compiler->vm = vm_new(&options, err);
    return compiler->vm != NULL;
}

static bool compiles(void *arg, const struct app *app, struct err *err)
{
    struct compiler *compiler = arg;
    char *path;
    bool ok;

    if (app->manifest->entrypoint_is_html && !compiler->whole)
        return true;
    if (!open_compiler(compiler, err))
        return false;
    if (compiler->whole)
        return sources_compile(compiler->vm, app->dir, err);
    path = path_join(app->dir, app->manifest->entrypoint);
    ok = sources_compile_file(compiler->vm, path, err);
    free(path);
    return ok;
}

/* --- reloads --- */

static struct registry_scan *scan(void *app, bool dry_run)
{
    struct server *server = app;
    struct compiler compiler = {.server = server, .whole = dry_run};
    struct registry_scan *found = registry_scan(server->registry, compiles, &compiler);

    vm_close(compiler.vm);
    return found;
}

static bool scan_ok(const struct registry_scan *found)
{
    return found->ok;
}

static void tell(const char *what, const struct app_entry *entry)
{
    log_printf(LOG_INFO, "app %s %s %s", entry->name, app_entry_version(entry), what);
}

static void tell_changes(const struct registry_scan *found)
{
    for (size_t i = 0; i < found->set->len; i++) {
        const struct app_entry *entry = &found->set->entries[i];
        if (entry->err && !entry->told)
            log_err(entry->name, NULL, entry->err);
        else if (entry->status == APP_LOADED)
            tell("loaded", entry);
    }
    for (size_t i = 0; i < found->removed_len; i++)
        tell("removed", &found->removed[i]);
}

static void commit(void *app, struct registry_scan *found)
{
    struct server *server = app;

    registry_commit(server->registry, found);
    tell_changes(found);
    server_fit_body_limit(server, plugins_generation(server->plugins));
}

static void on_notice(void *app, enum log_level level, const char *name, const char *message)
{
    const struct log_line line = {.level = level, .message = message, .plugin = name};

    (void)app;
    log_write(&line);
}

static void on_retire(void *app, struct app *which)
{
    struct server *server = app;

    if (server->pool)
        pool_retire(server->pool, which);
}

/* --- the whole --- */

void apps_init(struct server *server, struct plugins_options *options)
{
    static const struct reload_apps with_reloads = {scan, scan_ok, commit, registry_scan_free};
    const struct registry_options own = {
        .settings = server->settings,
        .env = &server->env,
        .app = server,
        .on_notice = on_notice,
        .on_retire = on_retire,
    };

    server->registry = registry_new(&own);
    options->registry = server->registry;
    options->apps = &with_reloads;
}

void apps_fini(struct server *server)
{
    registry_free(server->registry);
}

size_t apps_body_limit(const struct server *server)
{
    const struct app_set *set = registry_set(server->registry);
    size_t most = 0;

    for (size_t i = 0; i < set->len; i++) {
        const struct app *app = set->entries[i].app;
        if (app && app->manifest->max_body_size > most)
            most = app->manifest->max_body_size;
    }
    return most;
}

/* --- requests --- */

static bool is_safe(struct str method)
{
    return str_equal(method, STR("GET")) || str_equal(method, STR("HEAD")) ||
           str_equal(method, STR("OPTIONS"));
}

static bool refuse(struct exchange *x, const struct denial *denial)
{
    char seconds[16];

    exchange_respond_error(x, denial->status, denial->code, denial->message, NULL);
    if (denial->status == 401)
        exchange_res_set_header(x, STR("www-authenticate"), STR("Bearer realm=\"buntime\""));
    if (denial->retry_after > 0) {
        snprintf(seconds, sizeof(seconds), "%u", denial->retry_after);
        exchange_res_set_header(x, STR("retry-after"), str_of(seconds));
    }
    return false;
}

/* The app runs other people's code: it does not get the key. */
static bool is_authorized(struct server *server, const char *name, struct exchange *x)
{
    const bool mutating = !is_safe(exchange_method(x));
    struct denial denial;
    struct identity who;

    if (!auth_authorize(server, x, "workers:read", mutating, &who, &denial) ||
        !auth_reaches(&who, name, &denial))
        return refuse(x, &denial);
    auth_take(server, x);
    return true;
}

bool apps_admit(struct server *server, const struct manifest *manifest, struct exchange *x)
{
    switch (manifest->visibility) {
    case VISIBILITY_PROTECTED:
        return is_authorized(server, manifest->name, x);
    case VISIBILITY_INTERNAL:
        if (origin_is_local(x) && !origin_is_foreign(x))
            return true;
        exchange_respond_error(x, 404, "NOT_FOUND", "Nothing answers here", NULL);
        return false;
    default:
        return true;
    }
}

void apps_respond_slash(struct exchange *x)
{
    const struct str query = exchange_query(x);
    struct buf location = {0};

    buf_add_str(&location, exchange_path(x));
    buf_putc(&location, '/');
    if (query.at) {
        buf_putc(&location, '?');
        buf_add_str(&location, query);
    }
    exchange_respond(x, 308);
    exchange_res_add_header(x, STR("location"), buf_str(&location));
    buf_fini(&location);
}
