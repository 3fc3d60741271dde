/* One request in a process: sent in frames. call_response.c has its answer.
 *
 * A call ends with one last frame of its stream, whatever happened to its client meanwhile: until
 * then it counts as being in the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/pool_impl.h"

enum { HELD_UP_MS = 4 * STANDSTILL_MS };

static struct pool_call **bucket(struct process *process, uint32_t stream)
{
    return &process->calls[stream % STREAM_BUCKETS];
}

struct pool_call *call_of(struct process *process, uint32_t stream)
{
    struct pool_call *call = *bucket(process, stream);

    while (call && call->stream != stream)
        call = call->next;
    return call;
}

static void enter(struct pool_call *call, struct process *process)
{
    struct pool_call **first;

    call->process = process;
    call->stream = ++process->last_stream;
    first = bucket(process, call->stream);
    call->prev = NULL;
    call->next = *first;
    if (call->next)
        call->next->prev = call;
    *first = call;
}

void call_leave(struct pool_call *call)
{
    struct process *process = call->process;

    if (!process)
        return;
    if (call->prev)
        call->prev->next = call->next;
    else
        *bucket(process, call->stream) = call->next;
    if (call->next)
        call->next->prev = call->prev;
    call->prev = call->next = NULL;
    call->process = NULL;
    process_released(process);
}

void call_free(struct pool_call *call)
{
    struct pool *pool = call->pool;

    if (call->queued)
        turns_remove(call);
    call_leave(call);
    timer_stop(&call->timer);
    loop_unpost(pool->options.loop, &call->refuse);
    buf_fini(&call->pending);
    call->group->calls--;
    group_release(call->group);
    free(call);
    pool->calls--;
}

/* --- the request --- */

static void put_headers(struct buf *out, const struct exchange *x)
{
    const size_t count = exchange_header_count(x);

    frame_put_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct header h = exchange_header_at(x, i);
        frame_put_str(out, h.name);
        frame_put_str(out, h.value);
    }
}

static void send_body(struct pool_call *call)
{
    while (call->body.len && call->window) {
        size_t n = call->body.len < call->window ? call->body.len : call->window;

        n = n < FRAME_PIECE_MAX ? n : FRAME_PIECE_MAX;
        frame_add_bytes(channel_out(&call->process->channel), FRAME_BODY, call->stream,
                        (struct str){call->body.at, n});
        call->body.at += n;
        call->body.len -= n;
        call->window -= n;
    }
}

/* Whether the process is busy with another request's code just now. */
static bool is_held_up(const struct pool_call *call)
{
    return call->x && !group_is_fresh(call->group) && process_runs(call->process, 0) &&
           !process_runs(call->process, call->stream);
}

void call_tell_late(const struct pool_call *call)
{
    const struct pool_options *options = &call->pool->options;
    const struct app *app = call->group->app;
    const struct str method = exchange_method(call->x), path = exchange_path(call->x);
    const bool computes = process_runs(call->process, call->stream);
    char message[384], fields[96];
    const struct log_line line = {
        .level = LOG_WARN,
        .message = message,
        .plugin = app->name,
        .request_id = exchange_id(call->x).at,
        .fields = fields,
    };

    snprintf(message, sizeof(message), "%.*s %.*s: no answer within %llu ms; the code %s",
             method.len < 20 ? (int)method.len : 20, method.at,
             path.len < 200 ? (int)path.len : 200, path.at,
             (unsigned long long)app->manifest->timeout,
             computes ? "computes without a pause" : "waits for something");
    snprintf(fields, sizeof(fields), "{\"code\":\"WORKER_TIMEOUT\",\"worker\":\"%s\"}",
             call->process->id);
    if (options->on_log)
        options->on_log(options->app, app, &line);
}

static void time_out(struct timer *timer)
{
    struct pool_call *call =
        (struct pool_call *)((char *)timer - offsetof(struct pool_call, timer));
    struct process *process = call->process;

    if (!process) {
        call->pool->stats.rejected++;
        call_refuse(call, 503, "WORKER_QUEUE_FULL", "The app's workers are all busy");
        return;
    }
    if (!call->late && is_held_up(call)) {
        call->late = true; /* another process may still answer it */
        timer_start(call->pool->options.loop, timer, HELD_UP_MS);
        process_doom(process);
        return;
    }
    call->pool->stats.timeouts++;
    if (call->x) {
        call_tell_late(call);
        call_refuse(call, 504, "WORKER_TIMEOUT", "The app did not answer in time");
    }
    process_doom(process);
}

void call_send(struct pool_call *call, struct process *process)
{
    const struct exchange *x = call->x;
    struct buf *out = channel_out(&process->channel);
    struct str body = exchange_body(x);
    size_t at;

    enter(call, process);
    at = frame_begin(out, FRAME_REQUEST, call->stream);
    frame_put_str(out, exchange_method(x));
    frame_put_str(out, exchange_path(x));
    frame_put_str(out, exchange_query(x));
    frame_put_str(out, exchange_id(x));
    frame_put_str(out, exchange_ip(x));
    frame_put_str(out, exchange_scheme(x));
    frame_put_str(out, exchange_authority(x));
    frame_put_u32(out, (uint32_t)call->strip);
    frame_put_u64(out, body.len);
    put_headers(out, x);
    call->body = body;
    if (body.len <= FRAME_PIECE_MAX) {
        buf_add_str(out, body);
        call->body.len = 0;
    }
    process_used(process);
    timer_start(call->pool->options.loop, &call->timer, call->group->app->manifest->timeout);
    if (!frame_end(out, at)) {
        process->last_stream--;
        call_leave(call);
        call_refuse_later(call, 431, "HEADERS_TOO_LARGE", "The request's headers are too large");
        return;
    }
    call->window = FRAME_WINDOW;
    send_body(call);
}

void call_take_credit(struct pool_call *call, struct str payload)
{
    struct frame_reader r = frame_reader(payload);
    const size_t more = frame_get_u32(&r);

    if (call->window + more <= FRAME_WINDOW)
        call->window += more;
    if (call->x)
        send_body(call);
}

/* --- ends --- */

void call_abandon(struct pool_call *call)
{
    call->x = NULL;
    call->body.len = 0;
    buf_fini(&call->pending);
    if (!call->process) {
        call_free(call);
        return;
    }
    frame_add(channel_out(&call->process->channel), FRAME_CANCEL, call->stream);
    timer_start(call->pool->options.loop, &call->timer, call->group->app->manifest->timeout);
}

void pool_call_cancel(struct pool_call *call)
{
    call_abandon(call);
}

void call_answer(struct pool_call *call, bool answered)
{
    void (*done)(bool, void *) = call->done;
    void *arg = call->arg;

    call->x = NULL;
    timer_stop(&call->timer);
    if (!call->attached && !call->process)
        call_free(call);
    done(answered, arg);
}

void call_refuse(struct pool_call *call, unsigned status, const char *code, const char *message)
{
    struct exchange *x = call->x;
    void (*done)(bool, void *) = call->done;
    void *arg = call->arg;

    exchange_respond_error(x, status, code, message, NULL);
    if (status == 503)
        exchange_res_add_header(x, STR("retry-after"), STR("1"));
    call_abandon(call);
    done(true, arg);
}

/* The app cannot start: its error is the answer, for who may see it. */
static void refuse_failed(struct pool_call *call)
{
    const struct err *failure = call->group->failure;
    const bool crashed = failure && strcmp(failure->code, "WORKER_CRASHED") == 0;
    const bool shown = failure && call->pool->options.settings->env == ENV_DEVELOPMENT;
    struct exchange *x = call->x;
    void (*done)(bool, void *) = call->done;
    void *arg = call->arg;
    struct err err = {.code = ""};

    if (shown)
        err = *failure;
    log_mask(err.message);
    log_mask(err.traceback);
    exchange_respond_error(x, crashed ? 502 : 500,
                           crashed ? "WORKER_CRASHED" : "WORKER_LOAD_FAILED",
                           shown ? err.message : "The app could not be started",
                           shown && *err.traceback ? err.traceback : NULL);
    call_abandon(call);
    done(true, arg);
}

static void refuse_now(struct post *post)
{
    struct pool_call *call =
        (struct pool_call *)((char *)post - offsetof(struct pool_call, refuse));

    if (call->code)
        call_refuse(call, call->status, call->code, call->message);
    else
        refuse_failed(call);
}

void call_init(struct pool_call *call)
{
    call->pool->calls++;
    call->timer.fire = time_out;
    call->refuse.run = refuse_now;
}

void call_refuse_later(struct pool_call *call,
                       unsigned status,
                       const char *code,
                       const char *message)
{
    call->status = status;
    call->code = code;
    call->message = message;
    timer_stop(&call->timer);
    loop_post(call->pool->options.loop, &call->refuse);
}

/* --- without its process --- */

static bool is_idempotent(struct str method)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (str_equal(method, str_of(methods[i])))
            return true;
    }
    return false;
}

void call_lost(struct pool_call *call, bool claimed, bool running)
{
    const bool again = !claimed || (!running && !call->repeated && call->x &&
                                    is_idempotent(exchange_method(call->x)));

    call_leave(call);
    if (call->attached) {
        call->ended = call->aborted = true;
        call_pump(call);
    } else if (!call->x) {
        call_free(call);
    } else if (again) {
        call->repeated = call->repeated || claimed;
        turns_add(call, true);
    } else {
        call_refuse(call, 502, "WORKER_CRASHED", "The app's worker ended before it answered");
    }
}
