/* One plugin brought to life: a manifest, a resolved configuration, and a VM with the functions
 * that its code registered.
 *
 * An instance is built beside the live ones (it may wait meanwhile), is held by the generations
 * that route to it, and ends by onShutdown, the closing of its ledger and of its VM. The struct
 * is counted; the VM goes earlier. The control plane's VM is an instance without a manifest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/err.h"
#include "conf/digest.h"
#include "ev/loop.h"

struct app;
struct config;
struct manifest;
struct plugin;
struct plugins;
struct service;
struct task;
struct vm;

/* What the module answers to: functions made by lua/buntime/plugin.lua, and the provided value. */
enum entry {
    ENTRY_ROUTES,
    ENTRY_SERVER_ROUTES,
    ENTRY_SERVER_FETCH,
    ENTRY_REQUEST_HOOK,
    ENTRY_RESPONSE_HOOK,
    ENTRY_SERVER_START,
    ENTRY_WORKER_SPAWN,
    ENTRY_WORKER_TERMINATE,
    ENTRY_SHUTDOWN,
    ENTRY_PROVIDED,
    ENTRY_COUNT,
};

enum instance_state {
    INSTANCE_NEW,
    INSTANCE_BUILDING,
    INSTANCE_READY,
    INSTANCE_LIVE,
    INSTANCE_DRAINING,
    INSTANCE_CLOSED
};

struct instance {
    struct plugins *plugins;
    struct plugin *plugin; /* its record; NULL for the control plane */
    struct manifest *manifest;
    struct config *config;
    const char *name;
    char digest[DIGEST_TEXT], env_digest[DIGEST_TEXT];
    uint64_t serial;        /* unique in the process */
    struct vm *vm;          /* NULL once closed, or when there is no persistent code */
    int entry[ENTRY_COUNT]; /* references in the VM's registry; LUA_NOREF: absent */
    bool hook_fail_open, hook_public;
    char **server_paths; /* the keys of server.routes */
    size_t server_path_count;
    char *described; /* its routes and what they say of themselves, JSON; NULL: not known */
    enum instance_state state;
    bool initialized; /* onInit came through, so onShutdown is due */
    unsigned refs;
    unsigned generations; /* how many hold it */
    unsigned calls;       /* service calls running in it */
    uint64_t build_ms;
    struct service *service;
    struct app *app;    /* its serverless side, worker/app.h, or NULL; the app layer's */
    void *links;        /* bind/service.h: what this VM has given out */
    struct post budget; /* plugin/budget.h: looks whether the VM is still full */

    /* while building or shutting down */
    char phase[16];
    struct task *task;
    struct timer timer;
    uint64_t started_ms;
    void (*done)(struct instance *instance, const struct err *err, void *arg);
    void *done_arg;
};

/* `manifest` is shared; `config` is taken over (both NULL for the control plane, which has
 * `name`). The caller holds the one reference.
 */
struct instance *instance_new(struct plugins *plugins,
                              struct manifest *manifest,
                              struct config *config,
                              const char *name);
void instance_set_plugin(struct instance *instance, struct plugin *plugin);
struct instance *instance_ref(struct instance *instance);
void instance_unref(struct instance *instance);

/* Makes the VM without running plugin code. */
bool instance_open_vm(struct instance *instance, struct err *err);

/* New VM, load, factory, onInit, provides; each with the init time-out. `done` is called once,
 * with NULL when the instance is ready.
 */
typedef void instance_done(struct instance *instance, const struct err *err, void *arg);
void instance_build(struct instance *instance, instance_done *done, void *arg);

/* Closes the VM at once and without onShutdown: instances that hold values of each other hold each
 * other until then.
 */
void instance_close(struct instance *instance);

bool instance_has(const struct instance *instance, enum entry entry);

/* A new task with the entry's function pushed on it. NULL: err set. */
struct task *instance_task(struct instance *instance, enum entry entry, struct err *err);

/* The swap has made it one that serves: what waited for that goes on. */
void instance_go_live(struct instance *instance);

/* Stops what must not outlive the swap: timers and schedules. */
void instance_stop_timers(struct instance *instance);

/* onShutdown within `timeout_ms` if it is due, then the ledger and the VM are closed; what the
 * ledger still held is told through plugins_leak(). `done` is called once, never from inside
 * this call; `err` is onShutdown's failure or NULL.
 */
void instance_shutdown(struct instance *instance,
                       uint64_t timeout_ms,
                       instance_done *done,
                       void *arg);
