#include "app/worker_hooks.h"

#include <stdlib.h>

#include <lua.h>

#include "app/server.h"
#include "base/mem.h"
#include "bind/call.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/task.h"
#include "worker/app.h"
#include "worker/pool.h"

struct event {
    struct app *app;   /* counted */
    char *id, *reason; /* reason: NULL for one that begins */
    int pid;
    struct event *next;
};

struct worker_hooks {
    struct server *server;
    struct post post;
    struct event *first, **last;
};

static void free_event(struct event *event)
{
    app_unref(event->app);
    free(event->id);
    free(event->reason);
    free(event);
}

static const char *name_of(const struct event *event)
{
    return event->reason ? "onWorkerTerminate" : "onWorkerSpawn";
}

/* --- one hook --- */

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

/* worker app */
static int push_arguments(lua_State *L, void *arg)
{
    const struct event *event = arg;

    lua_createtable(L, 0, 3);
    set_text(L, "id", event->id);
    lua_pushinteger(L, event->pid);
    lua_setfield(L, -2, "pid");
    set_text(L, "reason", event->reason);
    bind_push_worker_app(L, event->app);
    return 2;
}

static void ended(struct instance *instance, bool ok, const struct err *err, const char *hook)
{
    if (!ok)
        plugins_fault(instance, err, hook, NULL);
    plugins_call_done(instance);
    instance_unref(instance);
}

static void spawn_told(struct task *task, bool ok, const struct err *err, void *arg)
{
    (void)task;
    ended(arg, ok, err, "onWorkerSpawn");
}

static void terminate_told(struct task *task, bool ok, const struct err *err, void *arg)
{
    (void)task;
    ended(arg, ok, err, "onWorkerTerminate");
}

static void call(struct instance *instance, struct event *event)
{
    const enum entry entry = event->reason ? ENTRY_WORKER_TERMINATE : ENTRY_WORKER_SPAWN;
    struct task *task;
    struct err err;

    if (!instance->vm || !instance_has(instance, entry))
        return;
    task = instance_task(instance, entry, &err);
    if (!task || !vm_protect(task_state(task), push_arguments, event, 2, &err)) {
        if (task)
            task_discard(task);
        plugins_fault(instance, &err, name_of(event), NULL);
        return;
    }
    task_set_phase(task, name_of(event));
    instance_ref(instance);
    instance->calls++;
    task_start(task, 2, event->reason ? terminate_told : spawn_told, instance);
}

/* --- all that is kept --- */

void worker_hooks_flush(struct server *server)
{
    struct worker_hooks *hooks = server->worker_hooks;

    while (hooks->first) {
        struct event *event = hooks->first;
        struct generation *g = generation_ref(plugins_generation(server->plugins));
        hooks->first = event->next;
        if (!hooks->first)
            hooks->last = &hooks->first;
        for (size_t i = 0; i < g->len; i++)
            call(g->instances[i], event);
        generation_unref(g);
        free_event(event);
    }
}

static void run(struct post *post)
{
    struct worker_hooks *hooks =
        (struct worker_hooks *)((char *)post - offsetof(struct worker_hooks, post));

    worker_hooks_flush(hooks->server);
}

/* So that nothing is kept for nobody. */
static bool anybody_listens(const struct server *server, enum entry entry)
{
    const struct generation *g = server->plugins ? plugins_generation(server->plugins) : NULL;

    for (size_t i = 0; g && i < g->len; i++) {
        if (instance_has(g->instances[i], entry))
            return true;
    }
    return false;
}

void worker_hooks_tell(struct server *server, const struct pool_worker *worker)
{
    struct worker_hooks *hooks = server->worker_hooks;
    struct event *event;

    if (!anybody_listens(server, worker->reason ? ENTRY_WORKER_TERMINATE : ENTRY_WORKER_SPAWN))
        return;
    event = mem_alloc(sizeof(*event));
    event->app = app_ref((struct app *)(uintptr_t)worker->app);
    event->id = mem_copy(worker->id);
    event->reason = mem_copy(worker->reason);
    event->pid = worker->pid;
    *hooks->last = event;
    hooks->last = &event->next;
    loop_post(server->loop, &hooks->post);
}

void worker_hooks_init(struct server *server)
{
    struct worker_hooks *hooks = mem_alloc(sizeof(*hooks));

    hooks->server = server;
    hooks->post.run = run;
    hooks->last = &hooks->first;
    server->worker_hooks = hooks;
}

void worker_hooks_fini(struct server *server)
{
    struct worker_hooks *hooks = server->worker_hooks;

    if (!hooks)
        return;
    loop_unpost(server->loop, &hooks->post);
    while (hooks->first) {
        struct event *event = hooks->first;
        hooks->first = event->next;
        free_event(event);
    }
    free(hooks);
    server->worker_hooks = NULL;
}
