#include "bind/reload_wait.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/control_push.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"

struct waiting {
    struct plugins *plugins;
    struct task *task;
};

static const char *outcome(const struct reload_result *result)
{
    if (result->unknown)
        return "unknown";
    if (result->rejected)
        return "rejected";
    return result->ok ? "ok" : "partial";
}

static int push_result(lua_State *L, void *arg)
{
    const struct reload_result *result = arg;

    control_push_result(L, result);
    lua_pushstring(L, outcome(result));
    return 2;
}

static void reload_ended(void *arg, const struct reload_result *result)
{
    struct waiting *wait = arg;
    const struct task_answer answer =
        task_prepare(wait->task, push_result, (void *)(uintptr_t)result, 2);

    free(wait);
    task_answer(answer);
}

static void forget_reload(void *arg)
{
    struct waiting *wait = arg;

    plugins_reload_forget(wait->plugins, wait);
    free(wait);
}

int reload_wait(lua_State *L, struct plugins *plugins, const struct reload_options *options)
{
    struct task *task = task_current(L);
    struct waiting *wait;

    if (!task)
        return luaL_error(L, "cannot wait here: no task is running");
    wait = mem_alloc(sizeof(*wait));
    wait->plugins = plugins;
    wait->task = task;
    plugins_reload(plugins, options, reload_ended, wait);
    return task_wait(L, forget_reload, wait);
}
