/* The VM of a worker process, with the app's code loaded in it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "app/worker.h"
#include "bind/bind.h"
#include "conf/manifest.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

static void report(struct vm *vm, const struct err *err)
{
    plugins_fault(vm_host(vm), err, "background", NULL);
}

/* os.exit() ends this process and no other; the server tells who waited. */
static int exit_process(lua_State *L)
{
    const bool success = lua_isnoneornil(L, 1) || lua_toboolean(L, 1);

    _exit(lua_type(L, 1) == LUA_TNUMBER ? (int)lua_tointeger(L, 1) : !success);
    return 0;
}

static int push_load(lua_State *L, void *arg)
{
    const struct worker *worker = arg;

    lua_getglobal(L, "os");
    lua_pushcfunction(L, exit_process);
    lua_setfield(L, -2, "exit");
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "buntime.app");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_pushstring(L, worker->entry);
    lua_pushlstring(L, worker->code.data, worker->code.len);
    if (worker->code.len == 0) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
    return 3;
}

static bool open_vm(struct worker *worker, struct err *err)
{
    struct instance *in = worker->in;
    const struct vm_options options = {
        .name = worker->name,
        .root = worker->manifest->dir,
        .memory_limit = worker->memory,
        .jit = true,
        .alone = true,
        .plain_root = worker->plain_root,
        .strict_globals = worker->development,
        .loop = worker->loop,
        .watchdog = worker->watchdog,
        .host = in,
        .open = bind_open,
        .report = report,
    };

    in->vm = vm_new(&options, err);
    in->state = INSTANCE_LIVE;
    return in->vm != NULL;
}

/* The compiled code of the app's file, then the entries. */
static void take_entries(struct worker *worker, lua_State *L)
{
    struct str code;

    lua_settop(L, 1 + WORKER_ENTRIES);
    code.at = lua_tolstring(L, 1, &code.len);
    if (worker->fresh && worker->code.len == 0)
        buf_add_str(&worker->code, code);
    for (int i = WORKER_ENTRIES - 1; i >= 0; i--) {
        if (lua_isnil(L, -1))
            lua_pop(L, 1);
        else
            worker->entries[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

static void loaded(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct worker *worker = arg;

    if (!worker->in || worker->loaded)
        return; /* it was closed meanwhile */
    if (!ok) {
        worker_load_failed(worker, err);
        return;
    }
    take_entries(worker, task_state(task));
    worker->loaded = true;
    atomic_store(&worker->page->memory, vm_memory(worker->in->vm));
    worker_loaded(worker);
}

void worker_vm_open(struct worker *worker)
{
    struct task *task;
    struct err err;

    for (size_t i = 0; i < WORKER_ENTRIES; i++)
        worker->entries[i] = LUA_NOREF;
    worker->loaded = false;
    worker->in = instance_new(worker->plugins, worker->manifest, NULL, NULL);
    if (!open_vm(worker, &err) || !(task = task_new(worker->in->vm, &err))) {
        worker_load_failed(worker, &err);
        return;
    }
    if (!vm_protect(task_state(task), push_load, worker, 3, &err)) {
        task_discard(task);
        worker_load_failed(worker, &err);
        return;
    }
    task_set_phase(task, "load");
    task_start(task, 2, loaded, worker);
}

void worker_vm_close(struct worker *worker)
{
    struct instance *in = worker->in;

    if (!in)
        return;
    worker->in = NULL;
    worker->loaded = false;
    instance_close(in);
    instance_unref(in);
}

struct task *worker_vm_task(struct worker *worker, enum worker_entry entry, struct err *err)
{
    struct task *task = task_new(worker->in->vm, err);

    if (task)
        lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, worker->entries[entry]);
    return task;
}

bool worker_vm_has(const struct worker *worker, enum worker_entry entry)
{
    return worker->loaded && worker->entries[entry] != LUA_NOREF;
}
