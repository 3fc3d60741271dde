/* Requests in a worker process: from the frames of one to a call of the app, and its answer back.
 *
 * Each ends with one last frame, also when it was cancelled, because the server counts on that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/failure.h"
#include "app/worker.h"
#include "base/buf.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "bind/call.h"
#include "bind/stream.h"
#include "http/exchange_link.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/task.h"
#include "vm/vm.h"

struct visit {
    struct worker *worker;
    uint32_t stream;
    char *payload; /* of its frame: all of the request's text */
    struct frame_request head;
    struct buf body; /* what did not come with the head */
    struct exchange *x;
    struct task *task; /* NULL once it is done or was given up on */
    struct bind_request *request;
    char phase[16];
    size_t credit;
    struct buf out; /* written and not sent for want of credit */
    void (*taken)(void *arg);
    void *taken_arg;
    bool headed; /* the response's head is out */
    bool ending, over;
    struct post gone;
    struct visit *next;
};

/* --- its end --- */

static void unlink_visit(struct visit *v)
{
    struct visit **slot = &v->worker->visits;

    while (*slot && *slot != v)
        slot = &(*slot)->next;
    if (*slot)
        *slot = v->next;
}

/* On a turn of its own: nothing of it is on the C stack, and the answer has left. */
static void visit_free(struct post *post)
{
    struct visit *v = (struct visit *)((char *)post - offsetof(struct visit, gone));
    struct worker *worker = v->worker;

    exchange_link_free(v->x);
    buf_fini(&v->body);
    buf_fini(&v->out);
    free(v->payload);
    free(v);
    if (worker->in)
        atomic_store(&worker->page->memory, vm_memory(worker->in->vm));
    if (worker->fresh)
        loop_post(worker->loop, &worker->renew);
}

/* The last frame was written. */
static void visit_over(struct visit *v)
{
    if (v->over)
        return;
    v->over = true;
    v->taken = NULL;
    unlink_visit(v);
    v->gone.run = visit_free;
    loop_post(v->worker->loop, &v->gone);
}

static void leave_task(struct visit *v)
{
    bind_request_close(v->request);
    v->request = NULL;
    v->task = NULL;
}

/* --- the response --- */

static bool head_is_small(const struct exchange *x)
{
    const size_t count = exchange_res_header_count(x);
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        const struct header h = exchange_res_header_at(x, i);
        bytes += h.name.len + h.value.len;
    }
    return count <= FRAME_HEADERS_MAX && bytes <= FRAME_HEADER_BYTES;
}

static void pump(struct visit *v)
{
    struct str rest = buf_str(&v->out);

    while (rest.len && v->credit) {
        size_t n = rest.len < v->credit ? rest.len : v->credit;

        n = n < FRAME_PIECE_MAX ? n : FRAME_PIECE_MAX;
        frame_add_bytes(worker_out(v->worker), FRAME_PIECE, v->stream, (struct str){rest.at, n});
        rest.at += n;
        rest.len -= n;
        v->credit -= n;
    }
    if (rest.len)
        memmove(v->out.data, rest.at, rest.len);
    v->out.len = rest.len;
}

static void finish_stream(struct visit *v)
{
    if (!v->ending || v->out.len || v->over)
        return;
    frame_add(worker_out(v->worker), FRAME_END, v->stream);
    visit_over(v);
}

static void put_head(struct visit *v, struct exchange *x, bool complete, size_t length)
{
    struct buf *out = worker_out(v->worker);
    const size_t at = frame_begin(out, FRAME_RESPONSE, v->stream);
    const size_t count = exchange_res_header_count(x);

    frame_put_u32(out, exchange_status(x));
    frame_put_u32(out, complete);
    frame_put_u64(out, length == SIZE_MAX ? UINT64_MAX : length);
    frame_put_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct header h = exchange_res_header_at(x, i);
        frame_put_str(out, h.name);
        frame_put_str(out, h.value);
    }
    if (complete)
        buf_add_str(out, exchange_res_body(x));
    frame_end(out, at);
    v->headed = true;
}

static bool write_piece(void *arg, struct str bytes, void (*taken)(void *arg), void *taken_arg)
{
    struct visit *v = arg;

    buf_add_str(&v->out, bytes);
    pump(v);
    if (!v->out.len && v->credit)
        return true;
    v->taken = taken;
    v->taken_arg = taken_arg;
    return false;
}

static void end_stream(void *arg)
{
    struct visit *v = arg;

    v->ending = true;
    v->taken = NULL;
    pump(v);
    finish_stream(v);
}

static void abort_stream(void *arg)
{
    struct visit *v = arg;

    if (v->over)
        return;
    frame_add(worker_out(v->worker), FRAME_ABORT, v->stream);
    visit_over(v);
}

/* A body too large to go with its head follows in pieces. */
static void send_head(struct exchange *x, void *arg, bool streamed, size_t length)
{
    struct visit *v = arg;
    const struct str body = exchange_res_body(x);

    if (!streamed && body.len > FRAME_INLINE_MAX) {
        put_head(v, x, false, length);
        write_piece(v, body, NULL, NULL);
        end_stream(v);
        return;
    }
    put_head(v, x, !streamed, length);
    if (!streamed)
        visit_over(v);
}

static const struct exchange_sink sink = {send_head, write_piece, end_stream, abort_stream};

static void answer(struct visit *v)
{
    if (!head_is_small(v->x))
        exchange_respond_error(v->x, 502, "WORKER_BAD_RESPONSE",
                               "The app's response has more headers than are allowed", NULL);
    exchange_send(v->x);
}

static void fail(struct visit *v, const struct err *err)
{
    struct worker *worker = v->worker;

    worker_fault(worker, err, v->head.id.at);
    if (strcmp(err->code, "TOO_MANY_HEADERS") == 0)
        exchange_respond_error(v->x, 502, "WORKER_BAD_RESPONSE",
                               "The app's response has more headers than are allowed", NULL);
    else
        failure_respond(v->x, err, worker->name, worker->development);
    answer(v);
}

/* --- the call --- */

static void succeeded(struct visit *v, lua_State *L)
{
    const bool mine = bind_result(L) == BIND_ANSWERED;

    leave_task(v);
    if (mine) {
        answer(v);
        return;
    }
    frame_add(worker_out(v->worker), FRAME_NOT_MINE, v->stream);
    visit_over(v);
}

static void called(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct visit *v = arg;

    if (v->task != task) /* it was given up on, and the visit may be gone: see cancel() */
        return;
    if (ok) {
        succeeded(v, task_state(task));
    } else if (bind_error_response(task_state(task), v->x)) {
        leave_task(v);
        answer(v);
    } else {
        leave_task(v);
        fail(v, err);
    }
}

static void make_exchange(struct visit *v)
{
    const struct frame_request *head = &v->head;
    const struct exchange_request request = {
        .method = head->method,
        .path = head->path,
        .query = head->query,
        .body = v->body.len ? buf_str(&v->body) : head->body,
        .id = head->id,
        .ip = head->ip,
        .scheme = head->scheme,
        .authority = head->authority,
    };

    v->x = exchange_link_new(&request, &sink, v);
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct str name = frame_get_str(&v->head.headers);
        exchange_link_add_header(v->x, name, frame_get_str(&v->head.headers));
    }
}

static void begin(struct visit *v)
{
    struct worker *worker = v->worker;
    struct task *task;
    struct err err;

    worker->used = true;
    v->next = worker->visits;
    worker->visits = v;
    make_exchange(v);
    task = worker_vm_task(worker, WORKER_ANSWER, &err);
    if (!task) {
        fail(v, &err);
        return;
    }
    v->task = task;
    v->request = bind_request_push(task_state(task), v->x, v->head.strip);
    snprintf(v->phase, sizeof(v->phase), "#%u", (unsigned)v->stream);
    task_set_request_id(task, v->head.id.at);
    task_set_phase(task, v->phase);
    task_start(task, 1, called, v);
}

/* When the VM is ready: with ttl 0 that is for one request. */
static void begin_or_wait(struct visit *v)
{
    struct worker *worker = v->worker;

    if (worker->loaded && !(worker->fresh && worker->used)) {
        begin(v);
        return;
    }
    v->next = NULL;
    *worker->last_waiting = v;
    worker->last_waiting = &v->next;
    if (!worker->in)
        worker_vm_open(worker);
}

static struct visit *take_waiting(struct worker *worker)
{
    struct visit *v = worker->waiting;

    worker->waiting = v->next;
    if (!worker->waiting)
        worker->last_waiting = &worker->waiting;
    return v;
}

static bool has_whole_body(const struct visit *v)
{
    return v->head.body.len + v->body.len >= v->head.body_length;
}

/* The next one that waits and has all of its body. */
void visits_go_on(struct worker *worker)
{
    while (worker->waiting && worker->loaded && !(worker->fresh && worker->used))
        begin(take_waiting(worker));
}

void visits_fail(struct worker *worker, const struct err *err)
{
    while (worker->waiting) {
        struct visit *v = take_waiting(worker);
        v->next = worker->visits;
        worker->visits = v;
        make_exchange(v);
        fail(v, err);
    }
}

/* --- frames --- */

static void take_request(struct worker *worker, const struct frame *frame)
{
    struct visit *v;

    if (!page_claim(worker->page, frame->stream))
        return;
    v = mem_alloc(sizeof(*v));
    v->worker = worker;
    v->stream = frame->stream;
    v->credit = FRAME_WINDOW;
    v->payload = mem_alloc(frame->payload.len);
    memcpy(v->payload, frame->payload.at, frame->payload.len);
    if (!frame_read_request((struct str){v->payload, frame->payload.len}, &v->head))
        abort(); /* our own server does not say such */
    if (has_whole_body(v)) {
        begin_or_wait(v);
        return;
    }
    v->next = worker->uploads;
    worker->uploads = v;
}

static struct visit **find(struct visit **list, uint32_t stream)
{
    while (*list && (*list)->stream != stream)
        list = &(*list)->next;
    return list;
}

static void take_body(struct worker *worker, const struct frame *frame)
{
    struct visit **slot = find(&worker->uploads, frame->stream), *v = *slot;

    if (!v)
        return;
    if (!v->body.len)
        buf_reserve(&v->body, (size_t)v->head.body_length);
    buf_add_str(&v->body, frame->payload);
    frame_add_u32(worker_out(worker), FRAME_CREDIT, v->stream, (uint32_t)frame->payload.len);
    if (!has_whole_body(v))
        return;
    *slot = v->next;
    begin_or_wait(v);
}

static void take_credit(struct worker *worker, const struct frame *frame)
{
    struct visit *v = *find(&worker->visits, frame->stream);
    struct frame_reader r = frame_reader(frame->payload);
    void (*taken)(void *arg);

    if (!v)
        return;
    v->credit += frame_get_u32(&r);
    pump(v);
    taken = v->taken;
    if (!v->out.len && taken) {
        v->taken = NULL;
        taken(v->taken_arg);
    } else {
        finish_stream(v);
    }
}

/* The task may end whenever it likes; it knows of the visit no more. */
static void abandon_task(struct visit *v)
{
    struct task *task = v->task;

    leave_task(v);
    task_set_request_id(task, NULL);
    task_set_phase(task, NULL);
    task_forget(task);
    task_cancel(task, "the client is gone");
}

static void end_cancelled(struct visit *v)
{
    if (v->over)
        return;
    frame_add(worker_out(v->worker), FRAME_END, v->stream);
    visit_over(v);
}

static void cancel_unbegun(struct worker *worker, uint32_t stream)
{
    struct visit **slot = find(&worker->uploads, stream), *v = *slot;

    if (!v) {
        slot = find(&worker->waiting, stream);
        v = *slot;
        if (!v)
            return;
        if (worker->last_waiting == &v->next)
            worker->last_waiting = slot;
    }
    *slot = v->next;
    v->next = worker->visits;
    worker->visits = v;
    end_cancelled(v);
}

static void cancel(struct worker *worker, const struct frame *frame)
{
    struct visit *v = *find(&worker->visits, frame->stream);

    if (!v) {
        cancel_unbegun(worker, frame->stream);
        return;
    }
    if (v->task)
        abandon_task(v);
    else
        exchange_link_drop(v->x);
    end_cancelled(v);
}

void visit_frame(struct worker *worker, const struct frame *frame)
{
    static void (*const takers[FRAME_TYPES])(struct worker *, const struct frame *) = {
        [FRAME_REQUEST] = take_request,
        [FRAME_BODY] = take_body,
        [FRAME_CREDIT] = take_credit,
        [FRAME_CANCEL] = cancel,
    };

    if (takers[frame->type])
        takers[frame->type](worker, frame);
}

void visits_end_events(struct worker *worker)
{
    if (worker->in)
        bind_streams_end_events(worker->in->vm, "the server is shutting down");
}
