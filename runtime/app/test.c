/* buntime test: the specs of plugins and apps with busted, each in a VM of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "app/command.h"
#include "app/dirs.h"
#include "base/log.h"
#include "bind/bind.h"
#include "ev/loop.h"
#include "plugin/discover.h"
#include "vm/call.h"
#include "vm/task.h"
#include "vm/vm.h"
#include "worker/folders.h"

struct spec_run {
    const char *dir;
    bool done;
    int code;
};

static int push_runner(lua_State *L, void *arg)
{
    const struct spec_run *spec = arg;

    lua_getglobal(L, "require");
    lua_pushliteral(L, "buntime.test");
    lua_call(L, 1, 1);
    lua_pushstring(L, spec->dir);
    return 2;
}

static void ended(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct spec_run *spec = arg;

    spec->done = true;
    spec->code = ok ? (int)lua_tointeger(task_state(task), 1) : 1;
    if (!ok)
        log_err(NULL, NULL, err);
}

static bool run_specs(struct loop *loop, struct spec_run *spec, struct err *err)
{
    const struct vm_options options = {
        .name = spec->dir, .memory_limit = (size_t)1 << 30, .loop = loop, .open = bind_open};
    struct vm *vm = vm_new(&options, err);
    struct task *task = vm ? task_new(vm, err) : NULL;

    if (!task || !vm_protect(task_state(task), push_runner, spec, 2, err)) {
        if (task)
            task_discard(task);
        vm_close(vm);
        return false;
    }
    task_start(task, 1, ended, spec);
    while (!spec->done && loop_turn(loop, 1000))
        continue;
    vm_close(vm);
    return true;
}

/* One folder of a plugin or an app, or a folder of specs that is no plugin. */
static int test_dir(struct loop *loop, const char *dir)
{
    struct spec_run spec = {.dir = dir};
    struct err err;

    if (!run_specs(loop, &spec, &err)) {
        log_err(NULL, NULL, &err);
        return 2;
    }
    return spec.code;
}

/* The specs of a version that lies in another app's folder are that one's as well. */
static bool is_in_one_before(const struct app_folders *apps, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        const size_t len = strlen(apps->items[k].dir);
        if (strncmp(apps->items[i].dir, apps->items[k].dir, len) == 0 &&
            apps->items[i].dir[len] == '/')
            return true;
    }
    return false;
}

static int test_apps(struct loop *loop, const struct app_folders *apps)
{
    int code = 0;

    for (size_t i = 0; i < apps->len; i++) {
        const int one = is_in_one_before(apps, i) ? 0 : test_dir(loop, apps->items[i].dir);
        code = one > code ? one : code;
    }
    return code;
}

static int test_all(struct loop *loop, const struct settings *settings)
{
    struct found_list found;
    struct app_folders apps;
    int code;

    discover(settings->plugin_dirs.items, &found);
    app_folders_find(settings->worker_dirs.items, &apps);
    code = test_apps(loop, &apps);
    for (size_t i = 0; i < found.len; i++) {
        const int one = test_dir(loop, found.items[i].dir);
        code = one > code ? one : code;
    }
    if (found.len == 0 && apps.len == 0) {
        for (size_t i = 0; i < settings->plugin_dirs.len; i++) {
            const int one = test_dir(loop, settings->plugin_dirs.items[i]);
            code = one > code ? one : code;
        }
    }
    found_fini(&found);
    app_folders_fini(&apps);
    return code;
}

int command_test(struct invocation *in)
{
    struct err err;
    struct loop *loop = loop_new(&err);
    int code;

    if (!loop) {
        log_err(NULL, NULL, &err);
        return 2;
    }
    dirs_use(in->settings, in->words);
    code = test_all(loop, in->settings);
    loop_free(loop);
    return code;
}
