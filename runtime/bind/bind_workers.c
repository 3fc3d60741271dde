/* buntime.core.workers: the worker apps, as the control plane sees and changes them.
 *
 * Only the control plane's VM has this module (bind.c). It says nothing of who may call; that is
 * buntime.core.auth and lua/buntime/api.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "base/path.h"
#include "bind/bind.h"
#include "bind/workers_push.h"
#include "conf/manifest.h"
#include "conf/settings.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "plugin/toggle.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"
#include "worker/registry.h"
#include "worker/removal.h"

static const struct plugins_options *options_of(lua_State *L)
{
    const struct instance *self = vm_host(vm_of(L));

    return plugins_options(self->plugins);
}

static const struct app_set *set_of(lua_State *L)
{
    return registry_set(options_of(L)->registry);
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
    return push_failure(L, "there is no app of that name and version", "WORKER_NOT_FOUND");
}

/* --- looking --- */

static struct workers_view view_of(lua_State *L)
{
    const struct instance *self = vm_host(vm_of(L));

    return (struct workers_view){set_of(L), plugins_generation(self->plugins), options_of(L)->pool};
}

static int list(lua_State *L)
{
    const struct workers_view view = view_of(L);

    workers_push_list(L, &view);
    return 1;
}

/* get(name) -> details | nil, message, code */
static int get(lua_State *L)
{
    const struct workers_view view = view_of(L);

    if (workers_push_one(L, &view, luaL_checkstring(L, 1)))
        return 1;
    return push_unknown(L);
}

/* --- changing --- */

/* Files are written, synced and removed on the thread pool. */
struct change {
    struct job job;    /* first: its callbacks cast back */
    struct task *task; /* NULL: nobody waits any more */
    bool (*work)(struct change *change);
    char *dir;                  /* of a toggle */
    bool enabled;               /* likewise */
    struct app_removal removal; /* of a removal */
    bool ok;
    struct err err;
};

static void change_work(struct job *job)
{
    struct change *change = (struct change *)job;

    change->ok = change->work(change);
}

static int push_changed(lua_State *L, void *arg)
{
    const struct change *change = arg;

    if (!change->ok)
        return push_failure(L, change->err.message, change->err.code);
    lua_pushboolean(L, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
}

static void change_done(struct job *job)
{
    struct change *change = (struct change *)job;
    const struct task_answer answer = task_prepare(change->task, push_changed, change, 3);

    app_removal_fini(&change->removal);
    free(change->dir);
    free(change);
    task_answer(answer);
}

static void forget(void *arg)
{
    struct change *change = arg;

    change->task = NULL;
}

static int start(lua_State *L, const struct change *like)
{
    struct task *task = task_current(L);
    struct change *change;

    change = mem_alloc(sizeof(*change));
    *change = *like;
    change->job = (struct job){.work = change_work, .done = change_done};
    change->task = task;
    loop_submit(vm_loop(vm_of(L)), &change->job);
    return task_wait(L, forget, change);
}

static void check_task(lua_State *L)
{
    if (!task_current(L))
        luaL_error(L, "cannot wait here: no task is running");
}

/* The results of a function that waits, without waiting. */
static int at_once(lua_State *L, int results)
{
    lua_pushboolean(L, 1);
    lua_insert(L, -results - 1);
    return results + 1;
}

/* --- enabling --- */

static char *manifest_path(const char *dir)
{
    char *file = path_join(dir, "manifest.yaml");

    if (path_is_file(file))
        return file;
    free(file);
    return path_join(dir, "manifest.yml");
}

/* An app without a manifest gets one that says just that. */
static bool make_manifest(const char *dir, struct err *err)
{
    static const char text[] = "enabled: false\n";
    char *file = path_join(dir, "manifest.yaml");
    const int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1;

    if (fd >= 0)
        ok = fsync(fd) == 0 && close(fd) == 0 && ok;
    if (!ok)
        err_set(err, "MANIFEST_NOT_WRITABLE", "%s cannot be written: %s", file, strerror(errno));
    free(file);
    return ok;
}

static bool toggle_work(struct change *change)
{
    char *file;
    bool ok;

    if (!manifest_exists(change->dir))
        return change->enabled || make_manifest(change->dir, &change->err);
    file = manifest_path(change->dir);
    ok = toggle_manifest(file, change->enabled, &change->err);
    free(file);
    return ok;
}

/* Of two folders with one version that which is not yet as it is to be. */
static const struct app_entry *
find(const struct app_set *set, const char *name, const char *version, bool enabled)
{
    const struct app_entry *found = NULL;

    for (size_t i = 0; i < set->len; i++) {
        const struct app_entry *entry = &set->entries[i];
        if (strcmp(entry->name, name) != 0 || strcmp(app_entry_version(entry), version) != 0)
            continue;
        if ((entry->status == APP_DISABLED) == enabled)
            return entry;
        found = found ? found : entry;
    }
    return found;
}

/* toggle(name, version, enabled): waits -> true | nil, message, code */
static int toggle(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *version = luaL_checkstring(L, 2);
    const bool enabled = lua_toboolean(L, 3);
    const struct app_entry *entry = find(set_of(L), name, version, enabled);

    check_task(L);
    if (!entry)
        return at_once(L, push_unknown(L));
    return start(
        L, &(struct change){.work = toggle_work, .dir = mem_copy(entry->dir), .enabled = enabled});
}

/* --- removing --- */

static bool removal_work(struct change *change)
{
    return app_removal_run(&change->removal, &change->err);
}

/* remove(name, version or nil): waits -> true | nil, message, code */
static int remove_app(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *version = luaL_optstring(L, 2, NULL);
    struct change change = {.work = removal_work};
    bool found;

    check_task(L);
    found = app_removal_plan(&change.removal, set_of(L), name, version,
                             options_of(L)->settings->worker_dirs.items);
    if (found && !change.removal.builtin)
        return start(L, &change);
    app_removal_fini(&change.removal);
    if (!found)
        return at_once(L, push_unknown(L));
    return at_once(L, push_failure(L, "the app is built in; disable it instead",
                                   "BUILT_IN_WORKER_REMOVE_FORBIDDEN"));
}

static const luaL_Reg functions[] = {
    {"list", list}, {"get", get}, {"toggle", toggle}, {"remove", remove_app}, {NULL, NULL},
};

int bind_workers_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
