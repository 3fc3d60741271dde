/* buntime.core.service: what getPlugin gives out, and calls from one plugin's VM into another's.
 *
 * A call starts a task in the provider's VM. If that ends without waiting, the results are there
 * at once; else the caller's task waits for it. Cancelling the caller cancels the call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/service.h"
#include "conf/manifest.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "plugin/service.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/transfer.h"
#include "vm/vm.h"

static struct instance *self(lua_State *L)
{
    return vm_host(vm_of(L));
}

static int not_loaded(lua_State *L, const char *name)
{
    return luaL_error(L, "plugin \"%s\" is not loaded", name);
}

static struct ref *check_ref(lua_State *L, int index)
{
    struct ref *ref = ref_at(L, index);

    if (!ref)
        luaL_error(L, "a reference to another plugin's value expected, got %s",
                   luaL_typename(L, index));
    return ref;
}

/* --- reading a field --- */

struct read {
    const struct ref *ref;
    const char *key;
    size_t key_len;
    lua_State *to;
    bool reference, function; /* the value crosses by reference, and is a function */
    int found;                /* index of the value on the provider's stack */
};

/* On the provider's side: leaves the value. */
static int read_value(lua_State *L, void *arg)
{
    struct read *read = arg;

    ref_push_value(L, read->ref);
    if (!lua_istable(L, -1))
        return luaL_error(L, "plugin \"%s\" no longer provides a table there",
                          ref_plugin_name(read->ref));
    lua_pushlstring(L, read->key, read->key_len);
    lua_gettable(L, -2);
    return 1;
}

static bool has_metatable(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    lua_pop(L, 1);
    return true;
}

/* The usual case without a protected call: the provided table itself, without a metatable.
 * Allocates at most the key, so with the budget relaxed nothing can raise.
 */
static bool read_provided(lua_State *L, const struct read *read)
{
    struct instance *provider = self(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX, provider->entry[ENTRY_PROVIDED]);
    if (!lua_istable(L, -1) || has_metatable(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushlstring(L, read->key, read->key_len);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return true;
}

/* On the consumer's side: the value on top of the provider's stack becomes one of ours. */
static int take_value(lua_State *L, void *arg)
{
    struct read *read = arg;

    service_transfer(read->to, lua_gettop(read->to), 1, L);
    return 1;
}

static bool by_reference(lua_State *L)
{
    const int type = lua_type(L, -1);

    return type == LUA_TFUNCTION || (type == LUA_TTABLE && service_by_reference(L, lua_gettop(L)));
}

static bool read_simply(lua_State *L, const struct read *read)
{
    return read->ref->service && read->ref->path_len == 0 && read_provided(L, read);
}

/* Pushes the function that stands for the field at 2 of the reference at 1, if it was made before.
 */
static bool push_cached(lua_State *L, const struct read *read)
{
    if (!read->ref->service || lua_type(L, 1) != LUA_TUSERDATA)
        return false;
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

static void keep_cached(lua_State *L)
{
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* The value is on top of `from`, the provider's state; pushes what it is here. */
static bool push_read(lua_State *L, lua_State *from, struct read *read, struct err *err)
{
    const bool function = lua_isfunction(from, -1);

    if (function && push_cached(L, read))
        return true;
    if (read->ref->service && memchr(read->key, '\0', read->key_len) == NULL &&
        read->ref->path_len < REF_PATH_MAX && by_reference(from)) {
        ref_push_path(L, read->ref->service, read->ref, read->key, function);
        if (function && lua_type(L, 1) == LUA_TUSERDATA)
            keep_cached(L);
        return true;
    }
    read->to = from;
    return vm_protect(L, take_value, read, 1, err);
}

/* ref.key, ref[key] */
static int ref_index(lua_State *L)
{
    struct read read = {.ref = check_ref(L, 1)};
    struct instance *target = ref_target(read.ref, self(L));
    lua_State *from;
    struct err err;
    bool ok, enforced;

    read.key = luaL_checklstring(L, 2, &read.key_len);
    if (!target)
        return not_loaded(L, ref_plugin_name(read.ref));
    from = vm_main(target->vm);
    lua_checkstack(from, 16);
    enforced = vm_relax(target->vm);
    ok = read_simply(from, &read);
    vm_restore(target->vm, enforced);
    ok = ok || vm_protect(from, read_value, &read, 1, &err);
    if (!ok)
        return luaL_error(L, "%s", err.message);
    enforced = vm_relax(target->vm);
    ok = push_read(L, from, &read, &err);
    lua_pop(from, 1);
    vm_restore(target->vm, enforced);
    return ok ? 1 : luaL_error(L, "%s", err.message);
}

static int ref_newindex(lua_State *L)
{
    struct ref *ref = check_ref(L, 1);

    return luaL_error(L, "what plugin \"%s\" provides cannot be assigned to", ref_plugin_name(ref));
}

static int ref_tostring(lua_State *L)
{
    struct ref *ref = check_ref(L, 1);

    lua_pushfstring(L, "service of plugin \"%s\"", ref_plugin_name(ref));
    return 1;
}

/* --- calling --- */

struct call {
    const struct ref *ref; /* during the start only */
    struct instance *caller, *target;
    lua_State *L; /* who called, until the call returned; NULL: the caller's task waits */
    struct task *waiting;
    struct task *task; /* in the provider */
    int nargs, first;
    bool done, ok;
    int results; /* values on L, once done without waiting */
};

/* The usual call without a protected one: a function of the provided table, scalars as arguments.
 */
static bool push_simply(lua_State *L, const struct call *call)
{
    const struct read read = {
        .ref = call->ref, .key = call->ref->path, .key_len = strlen(call->ref->path)};

    if (!call->ref->service || call->ref->path_len != 1 || !lua_checkstack(L, call->nargs + 8) ||
        !read_provided(L, &read))
        return false;
    if (lua_isfunction(L, -1) && transfer_scalars(call->L, call->first, call->nargs, L))
        return true;
    lua_settop(L, 0);
    return false;
}

static int push_call(lua_State *L, void *arg)
{
    struct call *call = arg;

    ref_push_value(L, call->ref);
    if (!lua_isfunction(L, -1) && !has_metatable(L, -1))
        return luaL_error(L, "what plugin \"%s\" provides there is a %s, not a function",
                          call->target->name, luaL_typename(L, -1));
    service_transfer(call->L, call->first, call->nargs, L);
    return call->nargs + 1;
}

enum { SIMPLE_RESULTS = 8 };

struct results {
    lua_State *from;
    int first, count;
};

static int take_results(lua_State *L, void *arg)
{
    const struct results *results = arg;

    service_transfer(results->from, results->first, results->count, L);
    return results->count;
}

/* A coroutine that waits must not be run on, and an error raised on it would end its wait: what may
 * raise happens on the VM's main state, and is moved over.
 */
static bool push_results(lua_State *to, bool waits, struct results *results, struct err *err)
{
    lua_State *L = waits ? vm_main(vm_of(to)) : to;

    if (!lua_checkstack(to, results->count + 4))
        return err_set(err, "TOO_MANY_RESULTS", "a call gave %d results", results->count);
    if (!vm_protect(L, take_results, results, results->count, err))
        return false;
    if (waits)
        lua_xmove(L, to, results->count);
    return true;
}

/* Leaves the call's results on `to`, or the error value; tells which. */
static bool collect(struct call *call, lua_State *to, bool ok, const struct err *err, int *count)
{
    lua_State *from = task_state(call->task);
    struct results results = {from, 1, lua_gettop(from)};
    const bool enforced = vm_relax(task_vm(call->task));
    struct err failure;
    bool crossed, relaxed;

    if (!ok) {
        results.first = results.count; /* the error value is on top */
        results.count = 1;
        vm_note_trace(vm_of(to), err->message, err->traceback);
    }
    *count = results.count;
    relaxed = vm_relax(vm_of(to));
    crossed = results.count <= SIMPLE_RESULTS && lua_checkstack(to, SIMPLE_RESULTS + 4) &&
              transfer_scalars(from, results.first, results.count, to);
    vm_restore(vm_of(to), relaxed);
    crossed = crossed || push_results(to, call->waiting != NULL, &results, &failure);
    vm_restore(task_vm(call->task), enforced);
    if (crossed)
        return ok;
    lua_pushstring(to, failure.message);
    *count = 1;
    return false;
}

static void resume_caller(struct call *call, bool ok, const struct err *err)
{
    struct task *waiting = call->waiting;
    int count;

    if (!waiting)
        return;
    if (collect(call, task_state(waiting), ok, err, &count))
        task_resume(waiting, count);
    else
        task_resume_error(waiting);
}

static void called(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct call *call = arg;
    struct instance *target = call->target;

    (void)task;
    call->done = true;
    if (call->L) {
        call->ok = collect(call, call->L, ok, err, &call->results);
        return; /* ref_call() frees */
    }
    resume_caller(call, ok, err);
    free(call);
    plugins_call_done(target);
    instance_unref(target);
}

/* The caller is cancelled: so is the call, and nobody takes its results. */
static void undo(void *arg)
{
    struct call *call = arg;

    call->waiting = NULL;
    task_set_request_id(call->task, NULL); /* they went with the caller */
    task_set_trace(call->task, NULL);
    task_cancel(call->task, "the caller was cancelled");
}

static int finish_now(lua_State *L, struct call *call)
{
    struct instance *target = call->target;
    const int results = call->results;
    const bool ok = call->ok;

    free(call);
    plugins_call_done(target);
    instance_unref(target);
    lua_pushboolean(L, ok);
    lua_insert(L, -(results + 1));
    return results + 1;
}

static struct call *new_call(lua_State *L, const struct ref *ref, struct instance *target)
{
    struct call *call = mem_alloc(sizeof(*call));

    call->ref = ref;
    call->caller = self(L);
    call->target = instance_ref(target);
    call->L = L;
    call->first = 2;
    call->nargs = lua_gettop(L) - 1;
    target->calls++;
    return call;
}

static int refuse(lua_State *L, struct call *call, const struct err *err)
{
    if (call->task)
        task_discard(call->task);
    lua_pushstring(L, err->message);
    call->ok = false;
    call->results = 1;
    return finish_now(L, call);
}

/* call(ref, ...) -> true, results... | false, error */
static int ref_call(lua_State *L)
{
    struct ref *ref = check_ref(L, 1);
    struct instance *target = ref_target(ref, self(L));
    struct task *caller = task_current(L);
    struct call *call;
    struct err err;
    bool enforced, relaxed, ok;

    if (!target)
        return not_loaded(L, ref_plugin_name(ref));
    luaL_checkstack(L, 16, "service call");
    call = new_call(L, ref, target);
    call->task = task_new(target->vm, &err);
    if (!call->task)
        return refuse(L, call, &err);
    task_set_request_id(call->task, caller ? task_request_id(caller) : NULL);
    task_set_trace(call->task, caller ? task_trace(caller) : NULL);
    enforced = vm_relax(vm_of(L));
    relaxed = vm_relax(target->vm);
    ok = push_simply(task_state(call->task), call);
    vm_restore(target->vm, relaxed);
    ok = ok || vm_protect(task_state(call->task), push_call, call, call->nargs + 1, &err);
    vm_restore(vm_of(L), enforced);
    if (!ok)
        return refuse(L, call, &err);
    task_start(call->task, call->nargs, called, call);
    if (call->done)
        return finish_now(L, call);
    call->L = NULL;
    call->waiting = caller;
    if (!caller) {
        task_cancel(call->task, "the caller cannot wait");
        return luaL_error(L, "plugin \"%s\" waits here, but the caller cannot", target->name);
    }
    return task_wait(L, undo, call);
}

/* --- getPlugin --- */

static bool lists(const char *const *names, const char *name)
{
    for (; *names; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

/* get(name) -> service or nil */
static int service_find(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct instance *instance = self(L);
    struct service *service = service_get(instance->plugins, name);
    struct instance *provider = service_provider(service, instance);

    if (!provider || !instance_has(provider, ENTRY_PROVIDED)) {
        lua_pushnil(L);
        return 1;
    }
    lua_rawgeti(vm_main(provider->vm), LUA_REGISTRYINDEX, provider->entry[ENTRY_PROVIDED]);
    ref_push_path(L, service, NULL, NULL, lua_isfunction(vm_main(provider->vm), -1));
    lua_pop(vm_main(provider->vm), 1);
    return 1;
}

/* declared(name) -> "required" | "optional" | nil */
static int service_declared(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct manifest *manifest = self(L)->manifest;

    if (manifest && lists(manifest->dependencies, name))
        lua_pushliteral(L, "required");
    else if (manifest && lists(manifest->optional_dependencies, name))
        lua_pushliteral(L, "optional");
    else
        lua_pushnil(L);
    return 1;
}

/* open(wrap, call): `wrap(ref)` makes the function around a reference; `call(ref, ...)` is what
 * calling a reference to a table does
 */
static int service_open(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_getmetatable(L, REF_TYPE);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "__call");
    lua_pop(L, 1);
    return links_open(L, 1);
}

static const luaL_Reg functions[] = {
    {"call", ref_call},     {"find", service_find}, {"declared", service_declared},
    {"open", service_open}, {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__index", ref_index},
    {"__newindex", ref_newindex},
    {"__tostring", ref_tostring},
    {NULL, NULL},
};

int bind_service_open(lua_State *L)
{
    luaL_newmetatable(L, REF_TYPE);
    luaL_register(L, NULL, metamethods);
    lua_pushliteral(L, "service");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
