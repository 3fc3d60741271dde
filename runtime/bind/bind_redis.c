/* buntime.core.redis: clients, commands and subscriptions as Lua values.
 *
 * A call is a request on its way, with the task that waits for it. A task that is cancelled leaves
 * its call behind, which is then freed by the request's `done` and touches no VM any more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/misuse.h"
#include "bind/redis.h"
#include "bind/sql.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"

enum { COMMANDS_MAX = 100000 }; /* of a pipeline */

struct call {
    struct redis_request request; /* first: done() casts back */
    struct vm *vm;
    struct task *task; /* NULL: cancelled */
    bool list;         /* a pipeline: the value is a list */
    bool making;       /* its value */
    struct redis_reply reply;
    struct post slice;
};

/* --- clients --- */

static void close_client(struct lua_redis *client)
{
    struct redis *redis = client->redis;

    if (!redis)
        return;
    client->redis = NULL;
    if (client->lent)
        return;
    ledger_remove(&client->resource);
    subscriptions_close(&client->subscriptions);
    redis_close(redis);
}

static void close_resource(struct resource *resource)
{
    close_client((struct lua_redis *)resource);
}

static int collect(lua_State *L)
{
    close_client(lua_touserdata(L, 1));
    return 0;
}

bool redis_check(lua_State *L, struct lua_redis **client)
{
    const char *unable;

    *client = userdata_of(L, 1, REDIS_TYPE);
    if (!*client)
        return misuse(L, "a client expected; call it with a colon, as r:call(…)");
    if (!(*client)->redis)
        return misuse(L, "the client is closed");
    unable = task_unable(L);
    return !unable || misuse(L, "cannot wait here: %s", unable);
}

/* --- answers --- */

static void free_call(struct call *call)
{
    redis_request_fini(&call->request);
    free(call);
}

void redis_push_error(lua_State *L, const struct redis_error *error)
{
    sql_push_error(L, error->code, error->message, NULL, 0);
}

static int push_failure(lua_State *L, void *arg)
{
    redis_push_error(L, arg);
    return 1;
}

static int push_value(lua_State *L, void *arg)
{
    struct call *call = arg;
    bool finished;

    redis_reply_push(L, &call->reply, &finished);
    call->making = !finished;
    return 1;
}

/* Goes on with the value or error on top of the main state. */
static void answer(struct call *call, bool ok)
{
    struct task *task = call->task;

    lua_xmove(vm_main(call->vm), task_state(task), 1);
    redis_reply_fini(&call->reply, vm_main(call->vm));
    free_call(call);
    if (ok)
        task_resume(task, 1);
    else
        task_resume_error(task);
}

static void answer_value(struct call *call)
{
    lua_State *L = vm_main(call->vm);
    struct err err;
    const bool made = vm_protect(L, push_value, call, 1, &err);

    if (made && call->making) {
        lua_pop(L, 1);
        loop_post(vm_loop(call->vm), &call->slice);
        return;
    }
    if (!made)
        lua_pushstring(L, err.message);
    answer(call, made);
}

static void next_slice(struct post *post)
{
    answer_value((struct call *)((char *)post - offsetof(struct call, slice)));
}

static void answer_failure(struct call *call)
{
    lua_State *L = vm_main(call->vm);
    struct err err;

    if (!vm_protect(L, push_failure, &call->request.error, 1, &err))
        lua_pushstring(L, err.message);
    answer(call, false);
}

/* What the server says to a single command is raised; in a pipeline it is one of the values. */
static void answer_server_error(struct call *call)
{
    lua_State *L = vm_main(call->vm);
    struct err err;

    if (!vm_protect(L, push_value, call, 1, &err))
        lua_pushstring(L, err.message);
    answer(call, false);
}

static void done(struct redis_request *request)
{
    struct call *call = (struct call *)request;
    struct redis_value value = {.type = REDIS_NIL};

    if (!call->task) {
        free_call(call);
        return;
    }
    if (!request->ok) {
        answer_failure(call);
        return;
    }
    redis_reply_init(&call->reply, request->replies.data, call->list, request->count);
    redis_get(request->replies.data, &value);
    if (!call->list && value.type == REDIS_ERROR)
        answer_server_error(call);
    else
        answer_value(call);
}

/* --- calls --- */

/* The task is cancelled. */
static void undo(void *arg)
{
    struct call *call = arg;

    call->task = NULL;
    if (!call->making) {
        redis_cancel(&call->request); /* may free it */
        return;
    }
    loop_unpost(vm_loop(call->vm), &call->slice);
    redis_reply_fini(&call->reply, vm_main(call->vm));
    free_call(call);
}

static struct call *new_call(lua_State *L)
{
    struct call *call = mem_alloc(sizeof(*call));

    call->request.done = done;
    call->vm = vm_of(L);
    call->task = task_current(L);
    call->slice.run = next_slice;
    return call;
}

/* The message on top becomes that of a misuse. */
static int misused(lua_State *L)
{
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* call(client, blocks, command, arguments...): waits */
static int call_one(lua_State *L)
{
    struct lua_redis *client;
    struct call *call;
    unsigned arguments;

    if (!redis_check(L, &client))
        return 2;
    if (!redis_command_check(L, 3, &arguments))
        return misused(L);
    call = new_call(L);
    call->request.count = 1;
    call->request.blocks = lua_toboolean(L, 2);
    redis_command_add(L, 3, arguments, &call->request.commands);
    redis_submit(client->redis, &call->request);
    return task_wait(L, undo, call);
}

/* encode(command, arguments...) -> the bytes of the command, for pipeline() */
static int encode(lua_State *L)
{
    unsigned arguments;

    if (!redis_command_check(L, 1, &arguments))
        return misused(L);
    lua_pushboolean(L, true);
    redis_command_push(L, 1, arguments);
    return 2;
}

/* The bytes of the commands in the list at 2, one after the other. Cannot raise. */
static void add_commands(lua_State *L, unsigned count, struct buf *out)
{
    for (unsigned i = 1; i <= count; i++) {
        struct str command;

        lua_rawgeti(L, 2, (int)i);
        command.at = lua_tolstring(L, -1, &command.len);
        buf_add_str(out, command);
        lua_pop(L, 1);
    }
}

static bool are_strings(lua_State *L, unsigned count)
{
    bool all = true;

    for (unsigned i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, (int)i);
        all = all && lua_type(L, -1) == LUA_TSTRING;
        lua_pop(L, 1);
    }
    return all;
}

/* pipeline(client, commands): waits. The commands are what encode() gave. */
static int pipeline(lua_State *L)
{
    struct lua_redis *client;
    struct call *call;
    size_t count;

    if (!redis_check(L, &client))
        return 2;
    luaL_checktype(L, 2, LUA_TTABLE);
    count = lua_objlen(L, 2);
    if (count == 0 || count > COMMANDS_MAX || !are_strings(L, (unsigned)count)) {
        misuse(L, "expected 1 to %d commands, got %zu", COMMANDS_MAX, count);
        return 2;
    }
    call = new_call(L);
    call->list = true;
    call->request.count = (unsigned)count;
    add_commands(L, (unsigned)count, &call->request.commands);
    redis_submit(client->redis, &call->request);
    return task_wait(L, undo, call);
}

/* close(client) */
static int close_now(lua_State *L)
{
    struct lua_redis *client = userdata_of(L, 1, REDIS_TYPE);

    if (!client) {
        misuse(L, "a client expected; call it with a colon, as r:close()");
        return 2;
    }
    close_client(client);
    lua_pushboolean(L, true);
    return 1;
}

/* --- opening --- */

/* open(url, timeout seconds, connect seconds, queue) -> client: does not wait */
static int open_client(lua_State *L)
{
    const struct redis_options options = {
        .url = luaL_checkstring(L, 1),
        .timeout_ms = (uint64_t)(luaL_checknumber(L, 2) * 1000),
        .connect_timeout_ms = (uint64_t)(luaL_checknumber(L, 3) * 1000),
        .queue = (unsigned)luaL_checkinteger(L, 4),
    };
    struct lua_redis *client;
    struct err err;

    if (!vm_loop(vm_of(L))) {
        misuse(L, "there is no Redis here: nothing turns an event loop");
        return 2;
    }
    lua_pushboolean(L, true);
    client = lua_newuserdata(L, sizeof(*client));
    *client = (struct lua_redis){.resource = {.kind = "redis", .close = close_resource}};
    luaL_getmetatable(L, REDIS_TYPE);
    lua_setmetatable(L, -2);
    client->redis = redis_open(vm_loop(vm_of(L)), &options, &err);
    if (!client->redis) {
        misuse(L, "%s", err.message);
        return 2;
    }
    snprintf(client->resource.label, sizeof(client->resource.label), "%s",
             redis_label(client->redis));
    ledger_add(vm_of(L), &client->resource);
    return 2;
}

/* server() -> client, number of its database: what the replicas share, never closed; or nothing */
static int server_client(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    struct redis *redis = instance ? plugins_options(instance->plugins)->redis : NULL;
    struct lua_redis *client;

    if (!redis)
        return 0;
    client = lua_newuserdata(L, sizeof(*client));
    *client = (struct lua_redis){.redis = redis, .lent = true};
    luaL_getmetatable(L, REDIS_TYPE);
    lua_setmetatable(L, -2);
    lua_pushinteger(L, (lua_Integer)redis_number(redis));
    return 2;
}

static const luaL_Reg functions[] = {
    {"open", open_client},
    {"server", server_client},
    {"call", call_one},
    {"encode", encode},
    {"pipeline", pipeline},
    {"subscribe", redis_subscribe_to},
    {"stop", redis_subscription_stop},
    {"close", close_now},
    {NULL, NULL},
};

int bind_redis_open(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions); /* module */
    sql_open(L);                       /* the errors, and integers of 64 bits */
    add_class(L, REDIS_TYPE, "client", collect);
    redis_subscription_register(L);
    return 1;
}
