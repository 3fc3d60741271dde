/* buntime.core.fs: files of the data folder and of the plugin's own, on the thread pool.
 *
 * A path is looked for in the data folder; what only reads goes on to the plugin's folder when it
 * is not there. An operation is freed by its job, whether or not a task still waits for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "bind/roots.h"
#include "data/files.h"
#include "ev/loop.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

struct operation {
    struct job job; /* first: work() and done() cast back */
    int (*run)(struct operation *op, int root);
    int (*push)(lua_State *L, const struct operation *op);
    struct vm *vm;
    struct task *task; /* NULL: cancelled */
    char *path, *data_root, *plugin_root;
    char *to; /* of rename, else NULL */
    bool writes;

    struct buf bytes; /* what to write, what was read */
    size_t most;
    bool recursive;
    size_t count;
    struct stat info;
    int failure; /* errno */
};

/* --- on the thread pool --- */

static int run_read(struct operation *op, int root)
{
    return files_read(root, op->path, op->most, &op->bytes);
}

static int run_write(struct operation *op, int root)
{
    return files_write(root, op->path, buf_str(&op->bytes));
}

static int run_list(struct operation *op, int root)
{
    return files_list(root, op->path, &op->bytes, &op->count);
}

static int run_stat(struct operation *op, int root)
{
    return files_stat(root, op->path, &op->info);
}

static int run_remove(struct operation *op, int root)
{
    return files_remove(root, op->path, op->recursive);
}

static int run_mkdir(struct operation *op, int root)
{
    return files_mkdir(root, op->path);
}

static int run_rename(struct operation *op, int root)
{
    return files_rename(root, op->path, op->to);
}

static int run_in(struct operation *op, int fd)
{
    const int rc = op->run(op, fd);

    close(fd);
    return rc;
}

static void work(struct job *job)
{
    struct operation *op = (struct operation *)job;
    int fd;

    op->failure = files_root(op->data_root, op->writes, &fd);
    if (op->failure == 0)
        op->failure = run_in(op, fd);
    if (op->failure == ENOENT && !op->writes && op->plugin_root &&
        files_root(op->plugin_root, false, &fd) == 0)
        op->failure = run_in(op, fd);
}

/* --- answers --- */

static int push_true(lua_State *L, const struct operation *op)
{
    (void)op;
    lua_pushboolean(L, true);
    return 1;
}

static int push_bytes(lua_State *L, const struct operation *op)
{
    lua_pushlstring(L, op->bytes.data ? op->bytes.data : "", op->bytes.len);
    return 1;
}

static int push_names(lua_State *L, const struct operation *op)
{
    const char *name = op->bytes.data;

    lua_createtable(L, op->count < 100000 ? (int)op->count : 0, 0);
    for (size_t i = 0; i < op->count; i++, name += strlen(name) + 1) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int push_info(lua_State *L, const struct operation *op)
{
    const mode_t mode = op->info.st_mode;

    lua_createtable(L, 0, 4);
    lua_pushstring(L, S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "directory" : "other");
    lua_setfield(L, -2, "type");
    lua_pushnumber(L, (lua_Number)op->info.st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)op->info.st_mtim.tv_sec +
                          (lua_Number)op->info.st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "mtime");
    lua_pushinteger(L, (lua_Integer)(mode & 07777));
    lua_setfield(L, -2, "mode");
    return 1;
}

static int push_failure(lua_State *L, const struct operation *op)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", op->path, files_error_text(op->failure));
    lua_pushstring(L, files_error_name(op->failure));
    return 3;
}

static int push_result(lua_State *L, void *arg)
{
    const struct operation *op = arg;

    return op->failure ? push_failure(L, op) : op->push(L, op);
}

static void free_operation(struct operation *op)
{
    free(op->path);
    free(op->data_root);
    free(op->plugin_root);
    free(op->to);
    buf_fini(&op->bytes);
    free(op);
}

static void done(struct job *job)
{
    struct operation *op = (struct operation *)job;
    const struct task_answer answer = task_prepare(op->task, push_result, op, op->failure ? 3 : 1);

    free_operation(op);
    task_answer(answer);
}

/* --- calls --- */

static void undo(void *arg)
{
    struct operation *op = arg;

    op->task = NULL;
}

static const char *check_path(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING) {
        lua_pushnil(L);
        lua_pushfstring(L, "path must be a string, got %s", luaL_typename(L, 1));
        return NULL;
    }
    if (!task_current(L) || !vm_loop(vm_of(L))) {
        lua_pushnil(L);
        lua_pushliteral(L, "cannot wait here: no task is running");
        return NULL;
    }
    return lua_tostring(L, 1);
}

/* A path with a NUL names nothing. */
static int no_such_path(lua_State *L)
{
    lua_pushboolean(L, true);
    lua_pushnil(L);
    lua_pushliteral(L, "the path has a NUL in it");
    lua_pushliteral(L, "EINVAL");
    return 4;
}

/* Everything here may raise; nothing after it does. */
static struct operation *new_operation(lua_State *L, const char *path)
{
    const char *data = roots_push_data(L), *plugin = roots_push_plugin(L);
    struct operation *op = mem_alloc(sizeof(*op));

    op->vm = vm_of(L);
    op->task = task_current(L);
    op->path = mem_copy(path);
    op->data_root = mem_copy(data);
    op->plugin_root = mem_copy(plugin);
    op->push = push_true;
    return op;
}

static int start(lua_State *L, struct operation *op, int (*run)(struct operation *op, int root))
{
    op->run = run;
    op->job.work = work;
    op->job.done = done;
    loop_submit(vm_loop(op->vm), &op->job);
    return task_wait(L, undo, op);
}

/* Each takes a path and waits: true, the answer; or true, nil, message, code; nil and a message for
 * misuse.
 */
static struct operation *begin(lua_State *L, int *count)
{
    const char *path = check_path(L);

    *count = 2;
    if (!path)
        return NULL;
    if (strlen(path) == lua_objlen(L, 1))
        return new_operation(L, path);
    *count = no_such_path(L);
    return NULL;
}

/* read(path, most) */
static int fs_read(lua_State *L)
{
    const lua_Number most = luaL_checknumber(L, 2);
    int count;
    struct operation *op = begin(L, &count);

    if (!op)
        return count;
    op->most = (size_t)most;
    op->push = push_bytes;
    return start(L, op, run_read);
}

/* write(path, bytes) */
static int fs_write(lua_State *L)
{
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    int count;
    struct operation *op = begin(L, &count);

    if (!op)
        return count;
    op->writes = true;
    buf_add(&op->bytes, bytes, len);
    return start(L, op, run_write);
}

/* list(path) */
static int fs_list(lua_State *L)
{
    int count;
    struct operation *op = begin(L, &count);

    if (!op)
        return count;
    op->push = push_names;
    return start(L, op, run_list);
}

/* stat(path) */
static int fs_stat(lua_State *L)
{
    int count;
    struct operation *op = begin(L, &count);

    if (!op)
        return count;
    op->push = push_info;
    return start(L, op, run_stat);
}

/* remove(path, recursive) */
static int fs_remove(lua_State *L)
{
    const bool recursive = lua_toboolean(L, 2);
    int count;
    struct operation *op = begin(L, &count);

    if (!op)
        return count;
    op->writes = true;
    op->recursive = recursive;
    return start(L, op, run_remove);
}

/* mkdir(path) */
static int fs_mkdir(lua_State *L)
{
    int count;
    struct operation *op = begin(L, &count);

    if (!op)
        return count;
    op->writes = true;
    return start(L, op, run_mkdir);
}

/* rename(path, to) */
static int fs_rename(lua_State *L)
{
    size_t len;
    const char *to = luaL_checklstring(L, 2, &len);
    int count;
    struct operation *op;

    if (strlen(to) != len)
        return no_such_path(L);
    op = begin(L, &count);
    if (!op)
        return count;
    op->writes = true;
    op->to = mem_copy(to);
    return start(L, op, run_rename);
}

static const luaL_Reg functions[] = {
    {"read", fs_read},     {"write", fs_write}, {"list", fs_list},     {"stat", fs_stat},
    {"remove", fs_remove}, {"mkdir", fs_mkdir}, {"rename", fs_rename}, {NULL, NULL},
};

int bind_fs_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
