#include <string.h>

#include "app/failure.h"
#include "app/pipeline_impl.h"
#include "app/target.h"
#include "http/trace.h"
#include "plugin/plugins.h"
#include "vm/task.h"

/* --- answers of our own --- */

static bool in_development(const struct run *run)
{
    return run->server->settings->env == ENV_DEVELOPMENT;
}

static void respond_failure(struct run *run, const struct err *err)
{
    failure_respond(run->x, err, run->in ? run->in->name : "", in_development(run));
}

/* --- calling plugins --- */

const char *run_phase(const struct run *run)
{
    static const char *const phases[ENTRY_COUNT] = {
        [ENTRY_ROUTES] = "request",
        [ENTRY_SERVER_ROUTES] = "request",
        [ENTRY_SERVER_FETCH] = "server.fetch",
        [ENTRY_REQUEST_HOOK] = "onRequest",
        [ENTRY_RESPONSE_HOOK] = "onResponse",
    };

    return phases[run->entry] ? phases[run->entry] : "request";
}

static enum outcome failed(struct run *run, const struct err *err)
{
    struct instance *in = run->in;

    if (run->entry != ENTRY_REQUEST_HOOK && run->entry != ENTRY_RESPONSE_HOOK &&
        bind_error_response(task_state(run->task), run->x))
        return ANSWERED; /* an error that says itself what to answer */
    plugins_fault(in, err, run_phase(run), exchange_id(run->x).at);
    if (run->entry == ENTRY_RESPONSE_HOOK)
        return AGAIN; /* the last good response goes out */
    if (run->entry != ENTRY_REQUEST_HOOK) {
        respond_failure(run, err);
        return ANSWERED;
    }
    if (in->hook_fail_open)
        return AGAIN;
    if (strcmp(err->code, "HANDLER_TIMEOUT") == 0) {
        respond_failure(run, err);
        return ANSWERED;
    }
    exchange_respond_error(run->x, 503, "PLUGIN_ONREQUEST_FAILED",
                           "A request hook failed, so the request was not let through", NULL);
    return ANSWERED;
}

void run_answered_by(struct run *run, const struct instance *in, enum bind_kind kind)
{
    run->by = (struct bind_target){.in = in, .kind = kind};
}

static enum outcome succeeded(struct run *run)
{
    enum outcome no = run->entry == ENTRY_ROUTES ? NEXT : AGAIN;

    if (bind_result(task_state(run->task)) != BIND_ANSWERED)
        return no;
    if (run->entry != ENTRY_REQUEST_HOOK)
        run_answered_by(run, run->in, BIND_PLUGIN);
    return ANSWERED;
}

static void called(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct run *run = arg;

    if (run->task == task) {
        run->outcome = ok ? succeeded(run) : failed(run, err);
        if (run->outcome == ANSWERED)
            run_note_series(run);
        run_leave_instance(run);
        if (!run->stepping)
            run_step(run);
    }
    run_unref(run);
}

/* The call could not even begin. */
static enum outcome not_started(struct run *run, struct instance *in, const struct err *err)
{
    plugins_fault(in, err, run_phase(run), exchange_id(run->x).at);
    if (run->entry == ENTRY_RESPONSE_HOOK)
        return AGAIN;
    if (strcmp(err->code, "OUT_OF_MEMORY") == 0)
        respond_failure(run, err);
    else
        exchange_respond_error(run->x, 503, "PLUGIN_NOT_LOADED", "The plugin cannot answer now",
                               NULL);
    return ANSWERED;
}

struct bind_target run_target(const struct run *run)
{
    struct bind_target target = run->by;

    if (!target.in && !target.app)
        target_find(run->generation, run->apps, run->x, &target);
    return target;
}

enum outcome
run_call(struct run *run, struct instance *in, enum entry entry, size_t strip, bool with_app)
{
    struct task *task;
    struct err err;
    int nargs = 1;

    run->entry = entry;
    if (!in->vm && entry == ENTRY_RESPONSE_HOOK)
        return AGAIN; /* it was replaced and is gone; the answer stands */
    task = instance_task(in, entry, &err);
    if (!task)
        return not_started(run, in, &err);
    if (in->plugin && entry != ENTRY_REQUEST_HOOK && entry != ENTRY_RESPONSE_HOOK)
        in->plugin->requests++;
    run->in = instance_ref(in);
    run->task = task;
    run->request = bind_request_push(task_state(task), run->x, strip);
    if (with_app) {
        const struct bind_target target = run_target(run);
        bind_push_app(task_state(task), &target);
        nargs = 2;
    }
    task_set_request_id(task, exchange_id(run->x).at);
    task_set_trace(task, run->trace ? run->trace->text : NULL);
    task_set_phase(task, run_phase(run));
    run->refs++;
    run->outcome = WAIT;
    task_start(task, nargs, called, run);
    return run->outcome;
}
