/* buntime.core.control: the plugins, as the control plane sees and steers them.
 *
 * Only the control plane's VM has this module (bind.c). It says nothing of who may call; that is
 * buntime.core.auth and lua/buntime/api.
 */
#include <stdlib.h>

#include <lauxlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "bind/bind.h"
#include "bind/control_push.h"
#include "bind/reload_wait.h"
#include "conf/fields.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "plugin/toggle.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

static struct plugins *plugins_of(lua_State *L)
{
    const struct instance *self = vm_host(vm_of(L));

    return self->plugins;
}

static struct plugin *find(lua_State *L, int arg)
{
    struct plugin *plugin = plugins_find(plugins_of(L), luaL_checkstring(L, arg));

    return plugin && plugin->status != PLUGIN_REMOVED ? plugin : NULL;
}

/* nil, message, code */
static int push_failure(lua_State *L, const char *message, const char *code)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    return 3;
}

static int push_unknown(lua_State *L)
{
    return push_failure(L, "there is no plugin of that name", "PLUGIN_NOT_FOUND");
}

/* --- looking --- */

static int status(lua_State *L)
{
    control_push_status(L, plugins_of(L));
    return 1;
}

static int plugins(lua_State *L)
{
    control_push_plugins(L, plugins_of(L));
    return 1;
}

static int loaded(lua_State *L)
{
    control_push_loaded(L, plugins_of(L));
    return 1;
}

/* routes() -> the live plugins that told of their routes, each with `name`, `version`, `base` and
 * `routes`, which is JSON.
 */
static int routes(lua_State *L)
{
    control_push_routes(L, plugins_of(L));
    return 1;
}

/* plugin(name) -> details | nil, message, code */
static int plugin(lua_State *L)
{
    const struct plugin *p = find(L, 1);

    if (!p)
        return push_unknown(L);
    control_push_plugin(L, p);
    return 1;
}

/* errors(name) -> list | nil, message, code */
static int errors(lua_State *L)
{
    const struct plugin *p = find(L, 1);

    if (!p)
        return push_unknown(L);
    control_push_faults(L, &p->faults);
    return 1;
}

static int push_config(lua_State *L, void *arg)
{
    control_push_config(L, arg);
    return 1;
}

/* Of a plugin that is not live: what it would get now. */
static int push_resolved(lua_State *L, const struct plugin *p)
{
    const struct env_source *env = plugins_options(plugins_of(L))->env;
    struct problems problems = {0};
    struct config *config = config_resolve(p->manifest, env, &problems);
    struct err err = {.code = "CONFIG_INVALID"};
    bool pushed = false;

    if (config)
        pushed = vm_protect(L, push_config, config, 1, &err);
    else
        problems_err(&problems, &err);
    problems_fini(&problems);
    config_free(config);
    if (pushed)
        return 1;
    return config ? luaL_error(L, "%s", err.message) : push_failure(L, err.message, err.code);
}

/* config(name) -> { [key] = { value, source, env } } | nil, message, code */
static int config(lua_State *L)
{
    const struct plugin *p = find(L, 1);

    if (!p)
        return push_unknown(L);
    if (p->live) {
        control_push_config(L, p->live->config);
        return 1;
    }
    if (!p->manifest || (p->err && strcmp(p->err->code, "MANIFEST_INVALID") == 0))
        return push_failure(L, p->err ? p->err->message : "the manifest could not be read",
                            "MANIFEST_INVALID");
    return push_resolved(L, p);
}

/* --- reloading --- */

static bool option(lua_State *L, const char *key)
{
    bool set;

    lua_getfield(L, 1, key);
    set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

static struct task *check_task(lua_State *L)
{
    struct task *task = task_current(L);

    if (!task)
        luaL_error(L, "cannot wait here: no task is running");
    return task;
}

/* reload{ changed, strict, dry_run, only }: waits -> answer, "ok"|"partial"|"rejected"|"unknown" */
static int reload(lua_State *L)
{
    struct reload_options options = {.only = NULL};

    luaL_checktype(L, 1, LUA_TTABLE);
    options.changed = option(L, "changed");
    options.strict = option(L, "strict");
    options.dry_run = option(L, "dry_run");
    lua_getfield(L, 1, "only"); /* stays on the stack while it is borrowed */
    options.only = lua_tostring(L, -1);
    return reload_wait(L, plugins_of(L), &options);
}

/* --- enabling --- */

/* The file is read, written and synced on the thread pool. */
struct toggle_wait {
    struct job job;    /* first: its callbacks cast back */
    struct task *task; /* NULL: nobody waits any more */
    char *file;
    bool enabled, ok;
    struct err err;
};

static void toggle_work(struct job *job)
{
    struct toggle_wait *wait = (struct toggle_wait *)job;

    wait->ok = toggle_manifest(wait->file, wait->enabled, &wait->err);
}

static int push_toggled(lua_State *L, void *arg)
{
    const struct toggle_wait *wait = arg;

    if (!wait->ok)
        return push_failure(L, wait->err.message, wait->err.code);
    lua_pushboolean(L, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
}

static void toggle_done(struct job *job)
{
    struct toggle_wait *wait = (struct toggle_wait *)job;
    const struct task_answer answer = task_prepare(wait->task, push_toggled, wait, 3);

    free(wait->file);
    free(wait);
    task_answer(answer);
}

static void forget_toggle(void *arg)
{
    struct toggle_wait *wait = arg;

    wait->task = NULL;
}

static char *manifest_path(const char *dir)
{
    char *file = path_join(dir, "manifest.yaml");

    if (path_is_file(file))
        return file;
    free(file);
    return path_join(dir, "manifest.yml");
}

/* toggle(name, enabled): waits -> true | nil, message, code */
static int toggle(lua_State *L)
{
    const struct plugin *p = find(L, 1);
    const bool enabled = lua_toboolean(L, 2);
    struct task *task = check_task(L);
    struct toggle_wait *wait;

    if (!p) {
        lua_pushboolean(L, 1);
        return 1 + push_unknown(L);
    }
    wait = mem_alloc(sizeof(*wait));
    wait->job = (struct job){.work = toggle_work, .done = toggle_done};
    wait->task = task;
    wait->file = manifest_path(p->dir);
    wait->enabled = enabled;
    loop_submit(vm_loop(vm_of(L)), &wait->job);
    return task_wait(L, forget_toggle, wait);
}

/* --- the record of what was done --- */

static void add_field(struct buf *out, const char *key, const char *text)
{
    if (!text)
        return;
    buf_putc(out, ',');
    buf_json_string(out, str_of(key));
    buf_putc(out, ':');
    buf_json_string(out, str_of(text));
}

/* audit(principal, action, target, result, code?): one line, whatever the log's level */
static int audit(lua_State *L)
{
    const struct task *task = task_current(L);
    const char *principal = luaL_checkstring(L, 1), *action = luaL_checkstring(L, 2);
    const char *target = luaL_checkstring(L, 3), *result = luaL_checkstring(L, 4);
    const char *code = luaL_optstring(L, 5, NULL);
    struct buf fields = {0};

    buf_puts(&fields, "{\"audit\":true");
    add_field(&fields, "principal", principal);
    add_field(&fields, "action", action);
    add_field(&fields, "target", target);
    add_field(&fields, "result", result);
    add_field(&fields, "code", code);
    buf_putc(&fields, '}');
    log_write_always(&(struct log_line){.level = LOG_INFO,
                                        .message = action,
                                        .request_id = task ? task_request_id(task) : NULL,
                                        .fields = fields.data});
    buf_fini(&fields);
    return 0;
}

static const luaL_Reg functions[] = {
    {"status", status}, {"plugins", plugins}, {"loaded", loaded}, {"plugin", plugin},
    {"routes", routes}, {"config", config},   {"errors", errors}, {"reload", reload},
    {"toggle", toggle}, {"audit", audit},     {NULL, NULL},
};

int bind_control_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
