/* buntime.core.packages: packages that come in, go out and go back (plugin/package.h), one
 * operation an object. Only the control plane's VM has this module.
 *
 * What blocks runs on the thread pool, one step at a time. A task that goes in the middle of a step
 * leaves it to end; closing then waits for it, so that neither the folder nor the hold of the
 * reloads is given back too early.
 */
#include <stdlib.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/reload_wait.h"
#include "bind/request.h"
#include "ev/loop.h"
#include "http/multipart.h"
#include "plugin/instance.h"
#include "plugin/package.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "plugin/sources.h"
#include "plugin/versions.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

#define OPERATION_TYPE "buntime.package_operation"

enum { CHUNK = 1 << 20 };

struct operation {
    struct job job; /* first: its callbacks cast back */
    struct plugins *plugins;
    struct loop *loop;
    struct package package;
    struct reload_hold *hold;
    struct task *task; /* that waits; NULL: none, or it has gone */
    bool (*work)(struct operation *op);
    void (*next)(struct operation *op);
    bool busy, closing;
    bool ok; /* of the last step */
    struct err err;
    struct str left; /* of the upload; the request's memory, so only while a task waits */
    char *chunk;
    size_t chunk_len;
    char *name, *version; /* arguments; also the file's name */
};

static struct plugins *plugins_of(lua_State *L)
{
    const struct instance *self = vm_host(vm_of(L));

    return self->plugins;
}

/* --- its life --- */

static void free_operation(struct operation *op)
{
    free(op->chunk);
    free(op->name);
    free(op->version);
    free(op);
}

static void clean_up(struct job *job)
{
    package_fini(&((struct operation *)job)->package);
}

static void cleaned_up(struct job *job)
{
    free_operation((struct operation *)job);
}

/* Nothing runs any more. */
static void end(struct operation *op)
{
    plugins_release(op->hold);
    op->hold = NULL;
    op->job = (struct job){.work = clean_up, .done = cleaned_up};
    loop_submit(op->loop, &op->job);
}

static void close_operation(struct operation *op)
{
    op->closing = true;
    op->task = NULL;
    plugins_reload_forget(op->plugins, op);
    if (!op->busy)
        end(op);
}

static struct operation *check_operation(lua_State *L)
{
    struct operation **slot = luaL_checkudata(L, 1, OPERATION_TYPE);

    if (!*slot)
        luaL_error(L, "the operation is closed");
    return *slot;
}

/* open(kind) -> operation; kind is "plugin" or "app" */
static int open_operation(lua_State *L)
{
    static const char *const kinds[] = {"plugin", "app", NULL};
    const int kind = luaL_checkoption(L, 1, NULL, kinds);
    struct operation **slot = lua_newuserdata(L, sizeof(*slot)), *op;

    *slot = NULL;
    luaL_getmetatable(L, OPERATION_TYPE);
    lua_setmetatable(L, -2);
    op = *slot = mem_alloc(sizeof(*op));
    op->plugins = plugins_of(L);
    op->loop = vm_loop(vm_of(L));
    package_init(&op->package, plugins_settings(op->plugins),
                 kind == 0 ? PACKAGE_PLUGIN : PACKAGE_APP);
    return 1;
}

/* op:close(); also its __gc */
static int close_method(lua_State *L)
{
    struct operation **slot = luaL_checkudata(L, 1, OPERATION_TYPE);

    if (*slot)
        close_operation(*slot);
    *slot = NULL;
    return 0;
}

/* --- waiting for a step --- */

static int push_failure(lua_State *L, const struct err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, err->message);
    lua_pushstring(L, err->code);
    return 3;
}

/* { name, version } | nil, message, code */
static int push_outcome(lua_State *L, void *arg)
{
    const struct operation *op = arg;

    if (!op->ok)
        return push_failure(L, &op->err);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, op->package.name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, op->package.version);
    lua_setfield(L, -2, "version");
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
}

static void answer(struct operation *op)
{
    const struct task_answer answer = task_prepare(op->task, push_outcome, op, 3);

    op->task = NULL;
    task_answer(answer);
}

static void forget(void *arg)
{
    struct operation *op = arg;

    op->task = NULL;
    op->left = (struct str){0};
}

static int wait_for(lua_State *L, struct operation *op)
{
    op->task = task_current(L);
    return task_wait(L, forget, op);
}

static void job_work(struct job *job)
{
    struct operation *op = (struct operation *)job;

    op->ok = op->work(op);
}

static void job_done(struct job *job)
{
    struct operation *op = (struct operation *)job;

    op->busy = false;
    if (op->closing)
        end(op);
    else
        op->next(op);
}

static void
submit(struct operation *op, bool (*work)(struct operation *op), void (*next)(struct operation *op))
{
    op->work = work;
    op->next = next;
    op->busy = true;
    op->job = (struct job){.work = job_work, .done = job_done};
    loop_submit(op->loop, &op->job);
}

/* The operation that a task may take its next step in. */
static struct operation *check_free(lua_State *L)
{
    struct operation *op = check_operation(L);

    if (!task_current(L))
        luaL_error(L, "cannot wait here: no task is running");
    if (op->busy || op->task)
        luaL_error(L, "the operation is in the middle of a step");
    return op;
}

static void take_text(lua_State *L, int arg, char **text)
{
    free(*text);
    *text = mem_copy(luaL_optstring(L, arg, NULL));
}

/* --- unpacking --- */

static bool unpack_work(struct operation *op)
{
    return package_unpack(&op->package, op->name, &op->err);
}

static bool write_work(struct operation *op)
{
    return package_write(&op->package, op->chunk, op->chunk_len, &op->err);
}

/* The upload goes to the disk in pieces: the memory that it came in is the connection's, which may
 * close at any time, and copying all of it at once would hold up the loop.
 */
static void write_next(struct operation *op)
{
    if (!op->task)
        return;
    if (!op->ok) {
        answer(op);
        return;
    }
    if (op->left.len == 0) {
        submit(op, unpack_work, answer);
        return;
    }
    op->chunk_len = op->left.len < CHUNK ? op->left.len : CHUNK;
    memcpy(op->chunk, op->left.at, op->chunk_len);
    op->left.at += op->chunk_len;
    op->left.len -= op->chunk_len;
    submit(op, write_work, write_next);
}

static bool find_upload(const struct exchange *x, struct multipart_file *file, struct err *err)
{
    if (!multipart_find(exchange_header(x, STR("content-type")), exchange_body(x), STR("file"),
                        file, err))
        return false;
    if (file->data.len == 0)
        return err_set(err, "ARCHIVE_INVALID", "the file is empty");
    return file->data.len <= PACKAGE_PACKED_MAX ||
           err_set(err, "BODY_TOO_LARGE", "a package has at most %d MB", PACKAGE_PACKED_MAX >> 20);
}

/* op:unpack(request): waits -> { name, version } | nil, message, code */
static int unpack(lua_State *L)
{
    struct operation *op = check_free(L);
    const struct bind_request *request = request_live(L, 2);
    struct multipart_file file;

    if (!find_upload(request->x, &file, &op->err)) {
        lua_pushboolean(L, 1);
        return 1 + push_failure(L, &op->err);
    }
    if (!op->chunk)
        op->chunk = mem_alloc(CHUNK);
    free(op->name);
    op->name = mem_copy(file.filename);
    op->left = file.data;
    op->ok = true;
    op->task = task_current(L);
    write_next(op);
    return wait_for(L, op);
}

/* --- keeping reloads away --- */

/* Where an unpacked package goes is settled when nothing else can change it any more. */
static bool settle_work(struct operation *op)
{
    return package_settle(&op->package, &op->err);
}

static void granted(void *arg)
{
    struct operation *op = arg;

    op->ok = true;
    if (op->task && op->package.root)
        submit(op, settle_work, answer);
    else
        answer(op);
}

/* op:hold(): waits until no reload runs -> { name, version } | nil, message, code. None does until
 * the operation is closed.
 */
static int hold(lua_State *L)
{
    struct operation *op = check_free(L);

    if (op->hold)
        return luaL_error(L, "the operation keeps reloads away already");
    op->hold = plugins_hold(op->plugins, granted, op);
    return wait_for(L, op);
}

/* op:reload{ changed }: waits, as control.reload does, for one inside of the hold */
static int reload(lua_State *L)
{
    struct operation *op = check_free(L);
    const struct reload_options options = {.changed = true, .hold = op->hold};

    return reload_wait(L, op->plugins, &options);
}

/* --- checking --- */

static void checked(void *arg, const struct reload_result *result)
{
    struct operation *op = arg;

    op->ok = true;
    for (size_t i = 0; i < result->len && op->ok; i++) {
        const struct reload_item *item = &result->items[i];
        if (!item->err || strcmp(item->path, op->package.root) != 0)
            continue;
        op->ok = false;
        op->err = *item->err;
        package_hide_place(&op->package, &op->err);
    }
    answer(op);
}

static bool check_app(struct operation *op)
{
    struct instance *instance = instance_new(op->plugins, NULL, NULL, "package");
    const bool ok = instance_open_vm(instance, &op->err) &&
                    sources_compile(instance->vm, op->package.root, &op->err);

    instance_unref(instance);
    if (!ok)
        package_hide_place(&op->package, &op->err);
    return ok;
}

/* op:check(): waits -> { name, version } | nil, message, code; as `buntime check` would say */
static int check(lua_State *L)
{
    struct operation *op = check_free(L);
    const struct reload_options options = {
        .changed = true,
        .dry_run = true,
        .staged = op->package.root,
        .staged_at = op->package.target,
        .hold = op->hold,
    };

    if (op->package.kind == PACKAGE_APP) {
        op->ok = check_app(op);
        lua_pushboolean(L, 1);
        return 1 + push_outcome(L, op);
    }
    plugins_reload(op->plugins, &options, checked, op);
    return wait_for(L, op);
}

/* --- what changes the folders --- */

static bool place_work(struct operation *op)
{
    return package_place(&op->package, &op->err);
}

static bool rollback_work(struct operation *op)
{
    return package_rollback(&op->package, op->name, op->version, &op->err);
}

static bool remove_work(struct operation *op)
{
    return package_remove(&op->package, op->name, &op->err);
}

/* op:place(): waits -> { name, version } | nil, message, code */
static int place(lua_State *L)
{
    struct operation *op = check_free(L);

    submit(op, place_work, answer);
    return wait_for(L, op);
}

/* op:rollback(name, version?): waits -> likewise */
static int rollback(lua_State *L)
{
    struct operation *op = check_free(L);

    luaL_checkstring(L, 2);
    take_text(L, 2, &op->name);
    take_text(L, 3, &op->version);
    submit(op, rollback_work, answer);
    return wait_for(L, op);
}

/* op:remove(name): waits -> likewise */
static int remove_plugin(lua_State *L)
{
    struct operation *op = check_free(L);

    luaL_checkstring(L, 2);
    take_text(L, 2, &op->name);
    submit(op, remove_work, answer);
    return wait_for(L, op);
}

/* --- what is kept --- */

struct listing {
    struct job job; /* first */
    const struct settings *settings;
    struct task *task; /* NULL: nobody waits any more */
    char *name;
    struct kept_list list;
};

static void listing_work(struct job *job)
{
    struct listing *listing = (struct listing *)job;

    versions_list(listing->settings, listing->name, &listing->list);
}

static int push_list(lua_State *L, void *arg)
{
    const struct kept_list *list = arg;

    lua_createtable(L, (int)list->len, 0);
    for (size_t i = 0; i < list->len; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, list->items[i].version);
        lua_setfield(L, -2, "version");
        lua_pushnumber(L, (lua_Number)list->items[i].kept_ms / 1000);
        lua_setfield(L, -2, "kept");
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static void listing_done(struct job *job)
{
    struct listing *listing = (struct listing *)job;
    const struct task_answer answer = task_prepare(listing->task, push_list, &listing->list, 1);

    kept_fini(&listing->list);
    free(listing->name);
    free(listing);
    task_answer(answer);
}

static void forget_listing(void *arg)
{
    ((struct listing *)arg)->task = NULL;
}

/* kept(name): waits -> { { version, kept }... }, the newest first; kept in seconds since 1970 */
static int kept(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct task *task = task_current(L);
    struct listing *listing;

    if (!task)
        return luaL_error(L, "cannot wait here: no task is running");
    listing = mem_alloc(sizeof(*listing));
    listing->job = (struct job){.work = listing_work, .done = listing_done};
    listing->settings = plugins_settings(plugins_of(L));
    listing->task = task;
    listing->name = mem_copy(name);
    loop_submit(vm_loop(vm_of(L)), &listing->job);
    return task_wait(L, forget_listing, listing);
}

static const luaL_Reg functions[] = {
    {"open", open_operation},
    {"kept", kept},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"unpack", unpack}, {"hold", hold},          {"check", check},
    {"place", place},   {"rollback", rollback},  {"remove", remove_plugin},
    {"reload", reload}, {"close", close_method}, {NULL, NULL},
};

int bind_packages_open(lua_State *L)
{
    luaL_newmetatable(L, OPERATION_TYPE);
    lua_pushcfunction(L, close_method);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
