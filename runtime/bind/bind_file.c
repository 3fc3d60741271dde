/* buntime.core.file: a file as the body of a response.
 *
 * open() looks for it on the thread pool, in the plugin's folder and then in the data folder; what
 * it gives travels in the response as its `source`.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/request.h"
#include "bind/roots.h"
#include "data/files.h"
#include "ev/loop.h"
#include "http/static_file.h"
#include "vm/task.h"
#include "vm/vm.h"

#define TYPE "buntime.file"

static const struct file_opener opener = {files_root, files_open, files_open_cached};

/* The Lua value. */
struct file_value {
    struct response_source base; /* first: request_respond() looks at it */
    struct static_file file;
    char *name;
    bool used;
};

struct opening {
    struct job job;           /* first: look() and looked() cast back */
    struct task *task;        /* NULL: cancelled */
    struct file_value *value; /* on the waiting task's stack, or in the registry's care */
    char *dirs[2];
    char *path;
    bool found;
    int keep; /* registry reference of the value */
    struct static_file file;
};

static void look(struct job *job)
{
    struct opening *o = (struct opening *)job;

    for (size_t i = 0; i < 2 && !o->found; i++)
        o->found = o->dirs[i] && static_file_find(&opener, o->dirs[i], o->path, 0, &o->file);
}

static void free_opening(struct opening *o)
{
    free(o->dirs[0]);
    free(o->dirs[1]);
    free(o->path);
    free(o);
}

static void looked(struct job *job)
{
    struct opening *o = (struct opening *)job;
    struct task *task = o->task;
    lua_State *L = task ? task_state(task) : NULL;

    if (!task) {
        if (o->found)
            static_file_fini(&o->file);
        free_opening(o);
        return;
    }
    if (o->found) {
        o->value->file = o->file;
        o->value->name = o->path;
        o->path = NULL;
        lua_rawgeti(L, LUA_REGISTRYINDEX, o->keep);
    } else {
        lua_pushnil(L);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, o->keep);
    free_opening(o);
    task_resume(task, 1);
}

static void stop_waiting(void *arg)
{
    struct opening *o = arg;

    luaL_unref(task_state(o->task), LUA_REGISTRYINDEX, o->keep);
    o->task = NULL;
}

static void attach(lua_State *L, int index, struct bind_request *request)
{
    struct file_value *value = lua_touserdata(L, index);

    if (value->used)
        luaL_error(L, "a file cannot be the answer to two requests");
    value->used = true;
    static_file_respond(vm_loop(vm_of(L)), request->x, &value->file, value->name);
}

static struct file_value *push_value(lua_State *L)
{
    struct file_value *value = lua_newuserdata(L, sizeof(*value));

    memset(value, 0, sizeof(*value));
    value->base = (struct response_source){response_source_magic(), attach};
    value->file.fd = -1;
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    return value;
}

/* What the kernel has in memory need not be waited for. */
static bool look_in_memory(const char *const dirs[2], const char *path, struct static_file *file)
{
    enum static_found found = STATIC_NONE;

    for (size_t i = 0; i < 2 && found == STATIC_NONE; i++) {
        if (dirs[i])
            found = static_file_find_cached(&opener, dirs[i], path, 0, file);
    }
    return found == STATIC_FOUND;
}

static struct opening *
new_opening(struct task *task, const char *const dirs[2], const char *path, int keep)
{
    struct opening *o = mem_alloc(sizeof(*o));

    o->job = (struct job){.work = look, .done = looked};
    o->task = task;
    o->keep = keep;
    for (size_t i = 0; i < 2; i++)
        o->dirs[i] = dirs[i] ? mem_copy(dirs[i]) : NULL;
    o->path = mem_copy(path);
    return o;
}

/* open(path) -> file, or nil when there is no such file within reach. May wait. */
static int open_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *dirs[2];
    struct file_value *value;
    struct opening *o;

    if (!task_current(L) || !vm_loop(vm_of(L)))
        return luaL_error(L, "cannot wait here: no task is running");
    if (strlen(path) != lua_objlen(L, 1)) { /* a NUL in it */
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_settop(L, 1);
    dirs[0] = roots_push_plugin(L);
    dirs[1] = roots_push_data(L);
    lua_pushboolean(L, 1);
    value = push_value(L);
    if (look_in_memory(dirs, path, &value->file)) {
        value->name = mem_copy(path);
        return 2;
    }
    o = new_opening(task_current(L), dirs, path, luaL_ref(L, LUA_REGISTRYINDEX));
    o->value = value;
    loop_submit(vm_loop(vm_of(L)), &o->job);
    return task_wait(L, stop_waiting, o);
}

static int collect(lua_State *L)
{
    struct file_value *value = lua_touserdata(L, 1);

    static_file_fini(&value->file);
    free(value->name);
    value->name = NULL;
    return 0;
}

static const luaL_Reg functions[] = {
    {"open", open_file},
    {NULL, NULL},
};

int bind_file_open(lua_State *L)
{
    luaL_newmetatable(L, TYPE);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "file");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
