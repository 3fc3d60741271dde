#include "vm/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>

#include "base/mem.h"
#include "vm/call.h"
#include "vm/library.h"
#include "vm/patterns.h"
#include "vm/task.h"
#include "vm/vm_impl.h"

enum { ROUNDS_MAX = 8, COLLECT_AFTER_PAUSE = -1 };

/* Above three quarters of its budget a VM collects all the time instead of waiting until garbage
 * has doubled its size: LuaJIT itself never collects because an allocation failed.
 */
static void press(struct vm *vm)
{
    if (vm->L)
        lua_gc(vm->L, LUA_GCRESTART, 0);
}

/* Tests set BUNTIME_GC_STRESS to have the collector at work all the time. */
static size_t soft_limit(const struct vm *vm)
{
    return getenv("BUNTIME_GC_STRESS") ? 0 : vm->limit / 4 * 3;
}

/* Until recover(), code that catches the error can go on if what filled the VM is garbage: each
 * step of the collector goes round to its end, and there is a little room until it has.
 */
static void *deny(struct vm *vm)
{
    press(vm);
    if (vm->denied)
        return NULL;
    vm->denied = true;
    vm->rounds = ROUNDS_MAX;
    if (vm->L)
        vm->stepmul = lua_gc(vm->L, LUA_GCSETSTEPMUL, 0);
    if (vm->options.denied)
        vm->options.denied(vm);
    return NULL;
}

/* Whole rounds are slow: where they do not help, the collector works in steps again. */
static void press_denied(struct vm *vm)
{
    if (vm->denied && vm->rounds > 0 && --vm->rounds == 0)
        lua_gc(vm->L, LUA_GCSETSTEPMUL, vm->stepmul);
    press(vm);
}

static size_t limit_now(const struct vm *vm)
{
    return vm->denied ? vm->limit + vm->limit / 16 : vm->limit;
}

/* The watchdog ends something by an allocation that fails. */
static void *starve(struct vm *vm)
{
    vm->starve = false;
    vm->soft = soft_limit(vm);
    press(vm);
    return NULL;
}

static void *allocate(void *arg, void *block, size_t old, size_t size)
{
    struct vm *vm = arg;
    const size_t used = vm->used - (block ? old : 0) + size;
    void *moved;

    if (size == 0) {
        vm->used = used;
        mi_free(block);
        return NULL;
    }
    if (used > vm->soft && size > old) {
        if (vm->starve)
            return starve(vm);
        if (vm->enforced && used > limit_now(vm))
            return deny(vm);
        press_denied(vm);
    }
    moved = block ? mi_realloc(block, size) : mi_malloc(size);
    if (moved)
        vm->used = used;
    return moved;
}

struct vm *vm_of(lua_State *L)
{
    void *arg;

    lua_getallocf(L, &arg);
    return arg;
}

static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* What filled the VM is garbage once its error is out; without this all that comes later would
 * fail as well.
 */
static void recover(struct vm *vm)
{
    const bool enforced = vm_relax(vm);

    if (vm->denied)
        lua_gc(vm->L, LUA_GCSETSTEPMUL, vm->stepmul);
    vm->denied = vm->collect = false;
    if (lua_cpcall(vm->L, collect, NULL) != 0)
        lua_pop(vm->L, 1);
    vm_restore(vm, enforced);
}

void vm_enter(struct vm *vm, struct vm_entry *entry)
{
    if ((vm->denied || vm->collect) && vm->L)
        recover(vm);
    *entry = (struct vm_entry){.vm = vm, .enforced = vm->enforced};
    vm->enforced = true;
    if (vm->watchdog)
        watchdog_enter(vm->watchdog, entry);
}

const struct err *vm_leave(struct vm_entry *entry)
{
    struct vm *vm = entry->vm;

    vm->enforced = entry->enforced;
    return vm->watchdog ? watchdog_leave(vm->watchdog, entry) : NULL;
}

void vm_note_trace(struct vm *vm, const char *message, const char *trace)
{
    free(vm->inner_trace);
    free(vm->inner_message);
    vm->inner_trace = mem_copy_n(trace, strnlen(trace, ERR_TRACE_MAX / 2));
    vm->inner_message = mem_copy_n(message, strnlen(message, ERR_MESSAGE_MAX / 2));
}

/* Remembers the traceback of a coroutine that failed inside another, for when its error ends the
 * task: note(coroutine, error).
 */
static int note(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    const char *message = lua_tostring(L, 2);

    if (!co || !message)
        return 0;
    luaL_traceback(L, co, NULL, 0);
    vm_note_trace(vm_of(L), message, lua_tostring(L, -1));
    return 0;
}

static int is_task_root(lua_State *L)
{
    struct task *task = task_current(L);

    lua_pushboolean(L, task && task_state(task) == L);
    return 1;
}

bool vm_shadows_library(const char *root)
{
    static const char *const names[] = {"buntime", "buntime.lua", "lua_modules/buntime",
                                        "lua_modules/buntime.lua"};
    char path[1024];

    for (size_t i = 0; root && i < sizeof(names) / sizeof(names[0]); i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", root, names[i]) >= sizeof(path) ||
            access(path, F_OK) == 0)
            return true;
    }
    return false;
}

static void push_boot_options(lua_State *L, const struct vm *vm)
{
    lua_newtable(L);
    lua_pushstring(L, vm->root);
    lua_setfield(L, -2, "root");
    lua_pushboolean(L, !vm->options.plain_root && vm_shadows_library(vm->root));
    lua_setfield(L, -2, "shadows");
    lua_pushboolean(L, vm->options.strict_globals);
    lua_setfield(L, -2, "strict");
    lua_pushcfunction(L, library_loader);
    lua_setfield(L, -2, "library");
    lua_pushcfunction(L, note);
    lua_setfield(L, -2, "note");
    lua_pushcfunction(L, is_task_root);
    lua_setfield(L, -2, "is_task_root");
    lua_pushlightuserdata(L, task_wait_token());
    lua_setfield(L, -2, "wait_token");
}

/* Without the JIT everything can be ended: see vm/watchdog.h. */
static void interpret(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* luaL_openlibs() turned it on */
    patterns_open(L);
}

static const char sentinel_key; /* of the registry */

/* Something that nobody holds: its finalizer runs once in each cycle of the collector. */
static void leave_sentinel(lua_State *L)
{
    lua_newuserdata(L, 0);
    lua_pushlightuserdata(L, (void *)&sentinel_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

static int count_collection(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const bool enforced = vm_relax(vm);

    vm->collections++;
    if (!vm->closing)
        leave_sentinel(L);
    vm_restore(vm, enforced);
    return 0;
}

static void count_collections(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&sentinel_key);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, count_collection);
    lua_setfield(L, -2, "__gc");
    lua_rawset(L, LUA_REGISTRYINDEX);
    leave_sentinel(L);
}

static void look_up(void *data, lua_State *L, int samples, int state)
{
    (void)data, (void)L, (void)samples, (void)state;
}

/* With the profiler's line mode every trace checks, each few milliseconds of work, whether it is
 * to be left: that is when the watchdog's hook gets its turn.
 */
static void watch_compiled(lua_State *L)
{
    luaJIT_profile_start(L, "li20", look_up, NULL);
    patterns_open(L);
}

static int open_state(lua_State *L, void *arg)
{
    struct vm *vm = arg;

    luaL_openlibs(L);
    count_collections(L);
    if (!vm->options.jit)
        interpret(L);
    else if (vm->options.alone)
        watch_compiled(L);
    if (vm->options.open) {
        lua_pushcfunction(L, vm->options.open);
        lua_call(L, 0, 0);
    }
    lua_pushcfunction(L, library_loader);
    lua_pushliteral(L, "buntime.boot");
    lua_call(L, 1, 1); /* chunk */
    if (!lua_isfunction(L, -1))
        return luaL_error(L, "the library module buntime.boot is missing");
    push_boot_options(L, vm);
    lua_call(L, 1, 0);
    return 0;
}

static bool open_vm(struct vm *vm, struct err *err)
{
    bool ok;

    if (!(vm->L = lua_newstate(allocate, vm)))
        return err_set(err, "OUT_OF_MEMORY", "no memory for a Lua state");
    lua_pushcfunction(vm->L, vm_trampoline);
    vm->trampoline = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    lua_gc(vm->L, LUA_GCSTOP, 0); /* next to nothing of what is made now is garbage */
    ok = vm_protect(vm->L, open_state, vm, 0, err);
    lua_gc(vm->L, LUA_GCRESTART, COLLECT_AFTER_PAUSE);
    return ok;
}

struct vm *vm_new(const struct vm_options *options, struct err *err)
{
    struct vm *vm = mem_alloc(sizeof(*vm));

    vm->options = *options;
    vm->name = mem_copy(options->name);
    vm->root = mem_copy(options->root);
    vm->limit = options->memory_limit ? options->memory_limit : (size_t)128 << 20;
    vm->soft = soft_limit(vm);
    vm->watchdog = options->watchdog;
    if (open_vm(vm, err))
        return vm;
    vm_close(vm);
    return NULL;
}

/* Runs finalizers, which no hook reaches: at least it is seen who runs them. */
static void close_state(struct vm *vm)
{
    struct vm_entry entry;

    vm->closing = true;
    vm_enter(vm, &entry);
    lua_close(vm->L);
    vm_leave(&entry);
}

void vm_close(struct vm *vm)
{
    if (!vm)
        return;
    tasks_cancel_all(vm, "the plugin was unloaded");
    ledger_close(vm);
    tasks_free(vm);
    if (vm->L)
        close_state(vm);
    free(vm->inner_trace);
    free(vm->inner_message);
    free(vm->name);
    free(vm->root);
    free(vm);
}

lua_State *vm_main(struct vm *vm)
{
    return vm->L;
}

struct loop *vm_loop(struct vm *vm)
{
    return vm->options.loop;
}

void *vm_host(struct vm *vm)
{
    return vm->options.host;
}

const char *vm_name(const struct vm *vm)
{
    return vm->name;
}

const char *vm_root(const struct vm *vm)
{
    return vm->root;
}

size_t vm_memory(const struct vm *vm)
{
    return vm->used;
}

size_t vm_memory_limit(const struct vm *vm)
{
    return vm->limit;
}

uint64_t vm_collections(const struct vm *vm)
{
    return vm->collections;
}

static int collect_garbage(lua_State *L, void *arg)
{
    (void)arg;
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* Protected, because finalizers run. */
void vm_collect(struct vm *vm)
{
    struct err err;

    if (!vm_protect(vm->L, collect_garbage, NULL, 0, &err))
        vm_report(vm, &err);
}

void vm_report(struct vm *vm, const struct err *err)
{
    if (vm->options.report)
        vm->options.report(vm, err);
}

bool vm_relax(struct vm *vm)
{
    const bool enforced = vm->enforced;

    vm->enforced = false;
    return enforced;
}

void vm_restore(struct vm *vm, bool enforced)
{
    vm->enforced = enforced;
}

/* --- ledger --- */

void ledger_add(struct vm *vm, struct resource *resource)
{
    resource->vm = vm;
    resource->prev = NULL;
    resource->next = vm->ledger;
    if (vm->ledger)
        vm->ledger->prev = resource;
    vm->ledger = resource;
    vm->ledger_len++;
}

void ledger_remove(struct resource *resource)
{
    if (!resource->vm)
        return;
    if (resource->prev)
        resource->prev->next = resource->next;
    else
        resource->vm->ledger = resource->next;
    if (resource->next)
        resource->next->prev = resource->prev;
    resource->vm->ledger_len--;
    resource->vm = NULL;
}

size_t ledger_count(const struct vm *vm)
{
    return vm->ledger_len;
}

const struct resource *ledger_first(const struct vm *vm)
{
    return vm->ledger;
}

void ledger_live(struct vm *vm)
{
    for (struct resource *resource = vm->ledger; resource; resource = resource->next) {
        if (resource->live)
            resource->live(resource);
    }
}

void ledger_close(struct vm *vm)
{
    while (vm->ledger) {
        struct resource *resource = vm->ledger;
        ledger_remove(resource);
        resource->close(resource);
    }
}
