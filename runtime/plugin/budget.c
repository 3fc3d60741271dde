#include "plugin/budget.h"

#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "plugin/reload.h"
#include "vm/vm.h"

/* Over this share of its limit a VM counts as full: what is left is less than one request needs. */
enum { FULL_PERCENT = 90 };

static bool is_full(const struct vm *vm)
{
    return vm_memory(vm) > vm_memory_limit(vm) / 100 * FULL_PERCENT;
}

static bool is_too_soon(const struct instance *instance, uint64_t now)
{
    const uint64_t last = instance->plugin->rebuilt_ms;

    return last != 0 && now < last + BUDGET_PAUSE_MS;
}

static void rebuilt(void *arg, const struct reload_result *result)
{
    for (size_t i = 0; i < result->len; i++) {
        if (result->items[i].err)
            plugins_notice(arg, LOG_ERROR, result->items[i].name, "it could not be rebuilt: %s",
                           result->items[i].err->message);
    }
}

static void rebuild(struct instance *instance)
{
    const struct reload_options options = {.only = instance->name};
    const struct vm *vm = instance->vm;

    plugins_notice(instance->plugins, LOG_WARN, instance->name,
                   "over its memory budget also after a full collection "
                   "(%zu of %zu KiB, `memory` or RUNTIME_VM_MEMORY): it is rebuilt",
                   vm_memory(vm) / 1024, vm_memory_limit(vm) / 1024);
    plugins_reload(instance->plugins, &options, rebuilt, instance->plugins);
}

/* Collecting takes a while for a VM full of live data, so it is done only if something follows. */
static void look(struct post *post)
{
    struct instance *instance =
        (struct instance *)((char *)post - offsetof(struct instance, budget));
    const uint64_t now = loop_now_ms(plugins_loop(instance->plugins));

    if (instance->state != INSTANCE_LIVE || !instance->plugin || is_too_soon(instance, now))
        return;
    instance_ref(instance); /* finalizers run */
    vm_collect(instance->vm);
    if (instance->vm && is_full(instance->vm)) {
        instance->plugin->rebuilt_ms = now;
        rebuild(instance);
    }
    instance_unref(instance);
}

void budget_denied(struct vm *vm)
{
    struct instance *instance = vm_host(vm);

    instance->budget.run = look;
    loop_post(plugins_loop(instance->plugins), &instance->budget);
}

void budget_forget(struct instance *instance)
{
    loop_unpost(plugins_loop(instance->plugins), &instance->budget);
}
