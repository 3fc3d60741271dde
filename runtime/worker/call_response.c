/* The answer of a process to a request: its frames put on the exchange. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "worker/pool_impl.h"

enum { PENDING_MAX = FRAME_WINDOW + FRAME_INLINE_MAX };

/* --- a response that streams --- */

static void give_credit(struct pool_call *call, size_t bytes)
{
    if (call->process && bytes)
        frame_add_u32(channel_out(&call->process->channel), FRAME_CREDIT, call->stream,
                      (uint32_t)bytes);
}

static void taken(void *arg)
{
    struct pool_call *call = arg;
    const size_t bytes = call->busy;

    call->busy = 0;
    give_credit(call, bytes);
    call_pump(call);
}

static void end_stream(struct pool_call *call)
{
    struct exchange *to = call->to;

    call->attached = false;
    call->to = NULL;
    if (call->aborted)
        exchange_stream_abort(to);
    else
        exchange_stream_end(to);
    if (call->process)
        call_abandon(call);
    else
        call_free(call);
}

void call_pump(struct pool_call *call)
{
    while (call->to && !call->busy && call->pending.len && !call->aborted) {
        struct buf bytes = call->pending;

        call->pending = (struct buf){0};
        call->busy = bytes.len;
        if (exchange_stream_write(call->to, buf_str(&bytes), taken, call)) {
            give_credit(call, call->busy);
            call->busy = 0;
        }
        buf_fini(&bytes);
    }
    if (call->to && (call->aborted || (call->ended && !call->busy && !call->pending.len)))
        end_stream(call);
}

static void start(struct exchange_source *source, struct exchange *x)
{
    struct pool_call *call =
        (struct pool_call *)((char *)source - offsetof(struct pool_call, source));

    call->to = x;
    call_pump(call);
}

static void drop(struct exchange_source *source)
{
    struct pool_call *call =
        (struct pool_call *)((char *)source - offsetof(struct pool_call, source));

    call->attached = false;
    call->to = NULL;
    call_abandon(call);
}

/* --- the answer --- */

static void bad_frame(struct process *process)
{
    process->broken = true;
    process_kill(process, "crash");
}

static bool add_headers(struct exchange *x, struct frame_response *response)
{
    size_t bytes = 0;

    if (response->header_count > FRAME_HEADERS_MAX)
        return false;
    for (uint32_t i = 0; i < response->header_count; i++) {
        const struct str name = frame_get_str(&response->headers);
        const struct str value = frame_get_str(&response->headers);
        bytes += name.len + value.len;
        if (bytes > FRAME_HEADER_BYTES || !name.len || !header_valid(name, value))
            return false;
        exchange_res_add_header(x, name, value);
    }
    return true;
}

static void never_start(struct exchange_source *source, struct exchange *x)
{
    (void)source;
    exchange_stream_abort(x);
}

static void nothing_to_drop(struct exchange_source *source)
{
    (void)source;
}

/* To HEAD the length is told, and no body follows. */
static void set_length(struct exchange *x, uint64_t length)
{
    struct exchange_source *source = exchange_alloc(x, sizeof(*source));

    *source = (struct exchange_source){
        .length = (size_t)length, .start = never_start, .drop = nothing_to_drop};
    exchange_res_set_source(x, source);
}

static bool has_no_body(const struct exchange *x, unsigned status)
{
    return status == 204 || status == 304 || str_equal(exchange_method(x), STR("HEAD"));
}

static void attach(struct pool_call *call, const struct frame_response *response)
{
    call->source = (struct exchange_source){
        .length = response->length == UINT64_MAX ? SIZE_MAX : (size_t)response->length,
        .start = start,
        .drop = drop,
    };
    call->attached = true;
    exchange_res_set_source(call->x, &call->source);
}

static bool is_acceptable(const struct frame_response *response)
{
    return response->status >= 200 && response->status <= 599 &&
           (response->complete || response->body.len == 0) &&
           (response->body.len <= FRAME_INLINE_MAX);
}

/* The head is there; false when it may not be sent. */
static bool put_response(struct pool_call *call, struct frame_response *response)
{
    struct exchange *x = call->x;

    if (!is_acceptable(response))
        return false;
    exchange_respond(x, response->status);
    if (!add_headers(x, response))
        return false;
    if (!response->complete)
        attach(call, response);
    else if (!has_no_body(x, response->status))
        exchange_res_set_body(x, response->body);
    else if (response->length)
        set_length(x, response->length);
    return true;
}

static void take_response(struct process *process, struct pool_call *call, struct str payload)
{
    struct frame_response response;

    if (call->headed || !frame_read_response(payload, &response)) {
        bad_frame(process);
        return;
    }
    call->headed = true;
    if (process->slot && !response.complete) {
        process->slot = false; /* it streams: others may compute */
        process->pool->slots--;
        turns_soon(process->pool);
    }
    process->served++;
    call->group->tally->requests++;
    if (call->x && !put_response(call, &response)) {
        call_refuse(call, 502, "WORKER_BAD_RESPONSE",
                    "The app's response has a bad head, or more headers than are allowed");
    }
    if (response.complete)
        call_leave(call);
    if (call->x)
        call_answer(call, true);
    else if (!call->process)
        call_free(call);
}

static void take_piece(struct process *process, struct pool_call *call, struct str bytes)
{
    if (!call->headed || call->ended) {
        bad_frame(process);
        return;
    }
    if (!call->attached)
        return; /* nobody reads any more */
    call->received += bytes.len;
    if (call->pending.len + call->busy + bytes.len > PENDING_MAX) {
        bad_frame(process);
        return;
    }
    if (call->source.length != SIZE_MAX && call->received > call->source.length)
        call->aborted = true;
    buf_add_str(&call->pending, bytes);
    call_pump(call);
}

/* The process is through with it: what it has sent goes on to the client. */
static void take_end(struct pool_call *call, bool aborted)
{
    call_leave(call);
    if (call->x) {
        call_refuse(call, 502, "WORKER_BAD_RESPONSE", "The app ended without an answer");
        return;
    }
    if (!call->attached) {
        call_free(call);
        return;
    }
    call->ended = true;
    if (aborted || (call->source.length != SIZE_MAX && call->received != call->source.length))
        call->aborted = true;
    call_pump(call);
}

static void take_not_mine(struct process *process, struct pool_call *call)
{
    process->served++;
    call->group->tally->requests++;
    call_leave(call);
    if (call->x)
        call_answer(call, false);
    else
        call_free(call);
}

static void take_fault(struct process *process, struct pool_call *call, struct str payload)
{
    struct frame_reader r = frame_reader(payload);
    struct str id;
    struct err err;

    (void)call;
    id = frame_get_str(&r);
    if (frame_get_err(&r, &err))
        pool_tell_fault(process->group, &err, id.at);
    else
        bad_frame(process);
}

void call_frame(struct process *process, const struct frame *frame)
{
    struct pool_call *call = call_of(process, frame->stream);

    if (frame->type == FRAME_FAULT) {
        take_fault(process, call, frame->payload);
        return;
    }
    if (!call)
        return; /* of one that was given to another process */
    switch (frame->type) {
    case FRAME_RESPONSE:
        take_response(process, call, frame->payload);
        break;
    case FRAME_PIECE:
        take_piece(process, call, frame->payload);
        break;
    case FRAME_END:
    case FRAME_ABORT:
        take_end(call, frame->type == FRAME_ABORT);
        break;
    case FRAME_NOT_MINE:
        take_not_mine(process, call);
        break;
    case FRAME_CREDIT:
        call_take_credit(call, frame->payload);
        break;
    default:
        bad_frame(process);
    }
}
