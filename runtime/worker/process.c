/* One worker process: from its start to its end. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "worker/gate.h"
#include "worker/pool_impl.h"

static struct loop *loop_of(const struct process *process)
{
    return process->pool->options.loop;
}

static const struct manifest *manifest_of(const struct process *process)
{
    return process->group->app->manifest;
}

void process_show(const struct process *process, struct pool_worker *worker)
{
    static const char *const names[] = {
        [PROCESS_STARTING] = "starting",
        [PROCESS_READY] = "idle",
        [PROCESS_DRAINING] = "draining",
        [PROCESS_ENDING] = "draining",
    };
    const bool busy = process->state == PROCESS_READY && process->in_flight > 0;

    *worker = (struct pool_worker){
        .app = process->group->app,
        .id = process->id,
        .pid = process->pid,
        .state = busy ? "busy" : names[process->state],
        .in_flight = process->in_flight,
        .served = process->served,
        .age_ms = loop_now_ms(loop_of(process)) - process->started_ms,
        .memory = process->page ? (size_t)atomic_load(&process->page->memory) : 0,
        .reason = process->reason,
    };
}

/* --- lists --- */

static void enlist(struct process *process)
{
    struct pool *pool = process->pool;
    struct group *group = process->group;

    process->next = pool->processes;
    if (process->next)
        process->next->prev = process;
    pool->processes = process;
    process->sibling_next = group->processes;
    if (process->sibling_next)
        process->sibling_next->sibling_prev = process;
    group->processes = process;
    pool->live++;
    group->live++;
}

static void delist(struct process *process)
{
    struct pool *pool = process->pool;
    struct group *group = process->group;

    *(process->prev ? &process->prev->next : &pool->processes) = process->next;
    if (process->next)
        process->next->prev = process->prev;
    *(process->sibling_prev ? &process->sibling_prev->sibling_next : &group->processes) =
        process->sibling_next;
    if (process->sibling_next)
        process->sibling_next->sibling_prev = process->sibling_prev;
    pool->live--;
    group->live--;
}

static void no_longer_starts(struct process *process)
{
    if (process->state != PROCESS_STARTING)
        return;
    process->group->starting--;
    if (group_is_fresh(process->group))
        process->pool->fresh_starting--;
}

static void stop_timers(struct process *process)
{
    timer_stop(&process->timer);
    timer_stop(&process->idle);
    timer_stop(&process->standstill);
}

/* --- ends --- */

void process_kill(struct process *process, const char *reason)
{
    if (!process->reason)
        process->reason = reason;
    no_longer_starts(process);
    process->state = PROCESS_ENDING;
    stop_timers(process);
    process->pool->stats.killed++;
    child_kill(&process->child, SIGKILL);
}

static void out_of_grace(struct timer *timer)
{
    process_kill((struct process *)((char *)timer - offsetof(struct process, timer)), "shutdown");
}

static void terminate(struct process *process)
{
    stop_timers(process);
    process->state = PROCESS_ENDING;
    frame_add(channel_out(&process->channel), FRAME_TERMINATE, 0);
    process->timer.fire = out_of_grace;
    timer_start(loop_of(process), &process->timer, GRACE_MS);
}

void process_drain(struct process *process, const char *reason)
{
    if (process->state == PROCESS_STARTING) {
        process_kill(process, reason);
        return;
    }
    if (process->state == PROCESS_ENDING)
        return;
    if (!process->reason)
        process->reason = reason;
    process->state = PROCESS_DRAINING;
    stop_timers(process);
    if (process->in_flight == 0) {
        terminate(process);
        return;
    }
    process->timer.fire = out_of_grace;
    timer_start(loop_of(process), &process->timer, process->pool->options.settings->drain_timeout);
}

bool process_runs(const struct process *process, uint32_t stream)
{
    const struct watch_record *record = &process->page->record;
    char phase[WATCH_PHASE_MAX];

    if (atomic_load(&record->depth) == 0)
        return false;
    snprintf(phase, sizeof(phase), "#%u", (unsigned)stream);
    return stream == 0 || strncmp(record->phase, phase, sizeof(phase)) == 0;
}

/* --- after a time-out --- */

/* Whether Lua has been running without a pause since the last look. */
static bool stands_still(const struct process *process)
{
    const struct watch_record *record = &process->page->record;

    return atomic_load(&record->depth) > 0 && atomic_load(&record->steps) == process->seen_steps;
}

static void look_again(struct timer *timer)
{
    struct process *process =
        (struct process *)((char *)timer - offsetof(struct process, standstill));

    if (stands_still(process))
        process_kill(process, "timeout");
}

static void take_back(struct process *process)
{
    const uint32_t claimed = page_revoke(process->page);

    for (uint32_t stream = process->last_stream; stream > claimed; stream--) {
        struct pool_call *call = call_of(process, stream);
        if (call)
            call_lost(call, false, false);
    }
}

/* A request's time is over: the process has to go. At once if it stands still; else those that go
 * on in it may end.
 */
void process_doom(struct process *process)
{
    if (process->state == PROCESS_ENDING)
        return;
    if (group_is_fresh(process->group)) {
        process_kill(process, "timeout");
        return;
    }
    process->seen_steps = atomic_load(&process->page->record.steps);
    take_back(process);
    if (process->state != PROCESS_DRAINING && process->state != PROCESS_ENDING)
        process_drain(process, "timeout");
    if (process->state == PROCESS_DRAINING)
        timer_start(loop_of(process), &process->standstill, STANDSTILL_MS);
}

/* --- its requests --- */

void process_used(struct process *process)
{
    struct pool *pool = process->pool;

    timer_stop(&process->timer);
    timer_stop(&process->idle);
    process->in_flight++;
    process->assigned++;
    if (process->in_flight == 1)
        pool->stats.busy++;
    if (group_is_fresh(process->group) && !process->slot) {
        process->slot = true;
        pool->slots++;
    }
}

static void ttl_over(struct timer *timer)
{
    process_drain((struct process *)((char *)timer - offsetof(struct process, timer)), "ttl");
}

static void idle_over(struct timer *timer)
{
    struct process *process = (struct process *)((char *)timer - offsetof(struct process, idle));

    frame_add(channel_out(&process->channel), FRAME_IDLE, 0);
}

static void await_next(struct process *process)
{
    const struct manifest *manifest = manifest_of(process);
    const uint64_t keep = manifest->ttl ? manifest->ttl : FRESH_KEEP_MS;

    process->timer.fire = ttl_over;
    timer_start(loop_of(process), &process->timer, keep);
    process->idle.fire = idle_over;
    if (manifest->ttl && manifest->idle_timeout)
        timer_start(loop_of(process), &process->idle, manifest->idle_timeout);
}

static bool is_used_up(const struct process *process)
{
    return !group_is_fresh(process->group) &&
           process->assigned >= manifest_of(process)->max_requests;
}

void process_released(struct process *process)
{
    struct pool *pool = process->pool;

    process->in_flight--;
    process->used_ms = loop_now_ms(pool->options.loop);
    if (process->in_flight == 0)
        pool->stats.busy--;
    if (process->slot) {
        process->slot = false;
        pool->slots--;
    }
    turns_soon(pool);
    if (process->in_flight > 0)
        return;
    if (process->state == PROCESS_DRAINING) {
        if (process->reason && strcmp(process->reason, "timeout") == 0)
            process_kill(process, "timeout");
        else
            terminate(process);
    } else if (process->state == PROCESS_READY) {
        if (process->group->app->retired)
            process_drain(process, "replaced");
        else if (is_used_up(process))
            process_drain(process, "maxRequests");
        else
            await_next(process);
    }
}

/* --- what it says --- */

static void became_ready(struct process *process)
{
    if (process->state != PROCESS_STARTING)
        return;
    no_longer_starts(process);
    process->state = PROCESS_READY;
    free(process->group->failure);
    process->group->failure = NULL;
    process->group->start_died = false;
    await_next(process);
    turns_soon(process->pool);
}

static void load_failed(struct process *process, const struct err *err)
{
    struct group *group = process->group;

    if (!group->failure)
        group->failure = mem_alloc(sizeof(*group->failure));
    *group->failure = *err;
    group->failed_ms = loop_now_ms(loop_of(process));
    pool_tell_fault(group, err, NULL);
    pool_fail_waiting(group);
}

static void take_load_failure(struct process *process, struct str payload)
{
    struct frame_reader r = frame_reader(payload);
    struct err err;

    if (process->state != PROCESS_STARTING || !frame_get_err(&r, &err))
        return;
    process_kill(process, "crash");
    load_failed(process, &err);
}

/* Text that may go into a line of the log as JSON: no line of its own hides in it. */
static const char *safe_fields(struct str fields)
{
    if (fields.len < 2 || fields.at[0] != '{' || fields.at[fields.len - 1] != '}')
        return NULL;
    for (size_t i = 0; i < fields.len; i++) {
        if ((unsigned char)fields.at[i] < ' ')
            return NULL;
    }
    return fields.at;
}

static void take_log(struct process *process, struct str payload)
{
    const struct pool_options *options = &process->pool->options;
    struct frame_log log;
    struct log_line line;

    if (!options->on_log || !frame_read_log(payload, &log) || log.level > LOG_ERROR)
        return;
    line = (struct log_line){
        .level = (enum log_level)log.level,
        .message = log.message.at ? log.message.at : "",
        .plugin = process->group->app->name,
        .request_id = log.request_id.at,
        .fields = safe_fields(log.fields),
        .traceback = log.traceback.at,
    };
    options->on_log(options->app, process->group->app, &line);
}

static void take(struct process *process, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_READY:
        became_ready(process);
        break;
    case FRAME_LOAD_FAILED:
        take_load_failure(process, frame->payload);
        break;
    case FRAME_LOG:
        take_log(process, frame->payload);
        break;
    default:
        call_frame(process, frame);
    }
}

static size_t on_input(struct channel *channel, struct str bytes)
{
    struct process *process =
        (struct process *)((char *)channel - offsetof(struct process, channel));
    struct str rest = bytes;
    struct frame frame;
    enum frame_result result = FRAME_MORE;

    process->stuck = false;
    while (!process->broken && (result = frame_next(&rest, &frame)) == FRAME_WHOLE)
        take(process, &frame);
    if (result == FRAME_BAD && !process->broken) {
        process->broken = true;
        process_kill(process, "crash");
    }
    return process->broken ? bytes.len : bytes.len - rest.len;
}

/* It closed its link: whatever it still does is of no use. */
static void on_ended(struct channel *channel)
{
    struct process *process =
        (struct process *)((char *)channel - offsetof(struct process, channel));

    process->lost = true;
    child_kill(&process->child, SIGKILL);
    channel_close(channel);
}

/* --- after its end --- */

/* What ran too long says so; it took the others along. */
static bool refuse_late(struct process *process, struct pool_call *call, bool running)
{
    if (!running || !call->x || strcmp(process->reason, "timeout") != 0)
        return false;
    call_tell_late(call);
    call_leave(call);
    process->pool->stats.timeouts++;
    call_refuse(call, 504, "WORKER_TIMEOUT", "The app did not answer in time");
    return true;
}

static void lose_calls(struct process *process)
{
    const uint32_t claimed = page_revoke(process->page);
    const bool fresh = group_is_fresh(process->group);

    for (size_t i = 0; i < STREAM_BUCKETS; i++) {
        while (process->calls[i]) {
            struct pool_call *call = process->calls[i];
            const bool begun = call->stream <= claimed;
            const bool running = begun && (fresh || process_runs(process, call->stream));
            if (!refuse_late(process, call, running))
                call_lost(call, begun, running);
        }
    }
}

static void describe_end(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "exit code %d", WEXITSTATUS(status));
}

/* One that dies while it starts may have been killed: what waits is given another. Twice in a row
 * it is the app.
 */
static bool may_start_again(struct group *group)
{
    group->start_died = !group->start_died;
    return group->start_died;
}

static void tell_crash(struct process *process, int status, bool starting)
{
    char how[96];
    struct err err;

    describe_end(status, how, sizeof(how));
    err_set(&err, "WORKER_CRASHED", "worker %s ended unexpectedly: %s", process->id, how);
    if (starting && !may_start_again(process->group))
        load_failed(process, &err);
    else
        pool_tell_fault(process->group, &err, process->page->record.request_id);
}

static void tell_end(struct process *process)
{
    const struct pool_options *options = &process->pool->options;
    struct pool_worker worker;

    process_show(process, &worker);
    process->pool->stats.terminated++;
    if (options->on_terminate)
        options->on_terminate(options->app, &worker);
}

static void process_free(struct process *process)
{
    struct pool *pool = process->pool;
    struct group *group = process->group;

    stop_timers(process);
    channel_close(&process->channel);
    delist(process);
    munmap(process->page, sizeof(*process->page));
    gate_free(process->gate);
    scratch_remove(pool, process->tmp);
    free(process);
    group_release(group);
    turns_soon(pool);
    pool_maybe_stopped(pool);
}

/* Its exchanges are gone, and nobody is told any more. */
void process_abandon(struct process *process)
{
    no_longer_starts(process);
    for (size_t i = 0; i < STREAM_BUCKETS; i++) {
        while (process->calls[i])
            call_free(process->calls[i]);
    }
    process_free(process);
}

static void on_exited(struct child *child, int status)
{
    struct process *process = (struct process *)((char *)child - offsetof(struct process, child));
    bool starting, crashed;

    channel_drain(&process->channel);
    starting = process->state == PROCESS_STARTING;
    crashed = !process->reason;
    no_longer_starts(process);
    process->state = PROCESS_ENDING;
    process->page->record.request_id[WATCH_REQUEST_MAX - 1] = '\0';
    if (crashed) {
        process->pool->stats.crashes++;
        process->reason = "crash";
        tell_crash(process, status, starting);
    }
    lose_calls(process);
    tell_end(process);
    process_free(process);
}

static void start_time_out(struct timer *timer)
{
    struct process *process = (struct process *)((char *)timer - offsetof(struct process, timer));
    struct err err;

    process_kill(process, "timeout");
    err_set(&err, "WORKER_START_TIMEOUT", "the app took longer than %llu ms (RUNTIME_INIT_TIMEOUT)",
            (unsigned long long)process->pool->options.settings->init_timeout);
    load_failed(process, &err);
}

bool process_start(struct group *group, struct err *err)
{
    struct pool *pool = group->pool;
    const struct pool_options *options = &pool->options;
    struct process *process = mem_alloc(sizeof(*process));
    struct pool_worker worker;

    process->pool = pool;
    process->group = group;
    process->child.exited = on_exited;
    process->channel.input = on_input;
    process->channel.ended = on_ended;
    process->standstill.fire = look_again;
    process->started_ms = process->used_ms = loop_now_ms(options->loop);
    snprintf(process->id, sizeof(process->id), "w%llu", (unsigned long long)++pool->last_id);
    if (!launch(process, err)) {
        free(process);
        return false;
    }
    enlist(process);
    group->starting++;
    if (group_is_fresh(group))
        pool->fresh_starting++;
    process->timer.fire = start_time_out;
    timer_start(options->loop, &process->timer, options->settings->init_timeout);
    pool->stats.spawned++;
    process_show(process, &worker);
    if (options->on_spawn)
        options->on_spawn(options->app, &worker);
    return true;
}
