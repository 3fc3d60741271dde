/* buntime worker: what the server starts to run an app in. Its link and the shared page are
 * descriptors 3 and 4; everything else it is told in the first frame.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/command.h"
#include "app/worker.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "conf/manifest.h"
#include "data/shared.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/task.h"
#include "vm/vm.h"
#include "vm/watchdog.h"

enum { LOG_TEXT_MAX = 32 * 1024, LOG_PENDING_MAX = 4 << 20 };

struct buf *worker_out(struct worker *worker)
{
    return channel_out(&worker->channel);
}

/* --- what is told --- */

static struct str capped(const char *text)
{
    struct str s = str_of(text);

    if (s.len > LOG_TEXT_MAX)
        s.len = LOG_TEXT_MAX;
    return s;
}

/* While the server does not read, lines are lost rather than piled up. */
static void on_log(void *arg, const struct log_line *line)
{
    struct worker *worker = arg;
    struct buf *out;
    size_t at;

    if (!worker->channel.socket || channel_pending(&worker->channel) > LOG_PENDING_MAX)
        return;
    out = worker_out(worker);
    at = frame_begin(out, FRAME_LOG, 0);
    frame_put_u32(out, (uint32_t)line->level);
    frame_put_str(out, capped(line->message));
    frame_put_str(out, capped(line->request_id));
    frame_put_str(out, str_of(line->fields));
    frame_put_str(out, capped(line->traceback));
    frame_end(out, at);
}

void worker_fault(struct worker *worker, const struct err *err, const char *request_id)
{
    struct buf *out = worker_out(worker);
    const size_t at = frame_begin(out, FRAME_FAULT, 0);

    frame_put_str(out, str_of(request_id));
    frame_put_err(out, err);
    frame_end(out, at);
}

static void on_fault(void *app,
                     const struct instance *instance,
                     const struct err *err,
                     const char *phase,
                     const char *request_id)
{
    (void)instance, (void)phase;
    worker_fault(app, err, request_id);
}

/* --- its end --- */

static void end_process(struct worker *worker)
{
    worker->ending = true;
    loop_stop(worker->loop);
}

static void terminated(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct worker *worker = arg;

    (void)task;
    if (!ok)
        worker_fault(worker, err, NULL);
    if (worker->ending)
        end_process(worker);
}

/* Runs one of the app's functions that answer nothing; false when it has none. */
static bool run_entry(struct worker *worker, enum worker_entry entry, const char *phase)
{
    struct task *task;
    struct err err;

    if (!worker_vm_has(worker, entry))
        return false;
    task = worker_vm_task(worker, entry, &err);
    if (!task) {
        worker_fault(worker, &err, NULL);
        return false;
    }
    task_set_phase(task, phase);
    task_start(task, 0, terminated, worker);
    return true;
}

static void terminate(struct worker *worker)
{
    if (worker->ending)
        return;
    worker->ending = true;
    if (!run_entry(worker, WORKER_TERMINATE, "onTerminate"))
        end_process(worker);
}

static void link_ended(struct channel *channel)
{
    (void)channel;
    _exit(0); /* the server is gone, or wants no more of us */
}

/* --- the VM --- */

void worker_loaded(struct worker *worker)
{
    if (!worker->announced)
        frame_add(worker_out(worker), FRAME_READY, 0);
    worker->announced = true;
    visits_go_on(worker);
}

static void close_failed(struct post *post)
{
    worker_vm_close((struct worker *)((char *)post - offsetof(struct worker, close)));
}

void worker_load_failed(struct worker *worker, const struct err *err)
{
    struct buf *out = worker_out(worker);
    size_t at;

    if (worker->announced) { /* of a later VM */
        visits_fail(worker, err);
        worker->close.run = close_failed;
        loop_post(worker->loop, &worker->close);
        return;
    }
    at = frame_begin(out, FRAME_LOAD_FAILED, 0);
    frame_put_err(out, err);
    frame_end(out, at);
    end_process(worker);
}

/* A VM that has served its one request goes, and the next one is made while nobody waits. */
static void renew(struct post *post)
{
    struct worker *worker = (struct worker *)((char *)post - offsetof(struct worker, renew));

    if (worker->ending)
        return;
    worker_vm_close(worker);
    worker->used = false;
    worker_vm_open(worker);
}

/* --- frames --- */

static void take(struct worker *worker, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_RESUME:
        page_resume(worker->page);
        break;
    case FRAME_IDLE:
        run_entry(worker, WORKER_IDLE, "onIdle");
        break;
    case FRAME_END_EVENTS:
        visits_end_events(worker);
        break;
    case FRAME_TERMINATE:
        terminate(worker);
        break;
    default:
        visit_frame(worker, frame);
    }
}

static size_t on_input(struct channel *channel, struct str bytes)
{
    struct worker *worker = (struct worker *)((char *)channel - offsetof(struct worker, channel));
    struct str rest = bytes;
    struct frame frame;

    while (frame_next(&rest, &frame) == FRAME_WHOLE)
        take(worker, &frame);
    return bytes.len - rest.len;
}

/* --- its beginning --- */

/* Waits for the first frame, before there is a loop. */
static bool read_hello(struct buf *input, struct frame_hello *hello)
{
    struct str rest;
    struct frame frame;

    for (;;) {
        struct pollfd fd = {.fd = PAGE_LINK_FD, .events = POLLIN};
        ssize_t n;

        poll(&fd, 1, -1);
        n = recv(PAGE_LINK_FD, buf_reserve(input, FRAME_PIECE_MAX), FRAME_PIECE_MAX, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        input->len += n > 0 ? (size_t)n : 0;
        rest = buf_str(input);
        switch (frame_next(&rest, &frame)) {
        case FRAME_BAD:
            return false;
        case FRAME_WHOLE:
            return frame.type == FRAME_HELLO && frame_read_hello(frame.payload, hello);
        case FRAME_MORE:
            break;
        }
    }
}

static const char *get_env(const struct env_source *source, const char *name)
{
    const char *value = getenv(name);

    (void)source;
    return value && *value ? value : NULL;
}

static void take_hello(struct worker *worker, const struct frame_hello *hello)
{
    worker->id = mem_copy(hello->worker.at);
    worker->name = mem_copy(hello->name.at);
    worker->data = mem_copy(hello->data.at);
    worker->sealed = hello->net_count == 0 && !(hello->flags & FRAME_UNCONFINED);
    worker->entry = mem_printf("%s/%s", hello->dir.at, hello->entrypoint.at);
    worker->memory = (size_t)hello->memory;
    worker->fresh = hello->flags & FRAME_FRESH;
    worker->development = hello->flags & FRAME_DEVELOPMENT;
    worker->settings = (struct settings){
        .env = worker->development ? ENV_DEVELOPMENT : ENV_PRODUCTION,
        .state_dir = mem_copy(hello->tmp.at), /* what would be kept goes with the process */
        .api_prefix = mem_copy(""),
        .log_level = (enum log_level)hello->log_level,
        .vm_memory = (size_t)hello->memory,
        .watchdog = hello->watchdog_ms,
    };
    worker->manifest =
        manifest_told(hello->name.at, hello->version.at, hello->base.at, hello->dir.at);
    worker->env = (struct env_source){get_env};
    worker->plain_root = !vm_shadows_library(hello->dir.at);
    log_setup(worker->settings.log_level, LOG_JSON);
}

static bool map_page(struct worker *worker)
{
    void *page =
        mmap(NULL, sizeof(*worker->page), PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_MEMORY_FD, 0);

    close(PAGE_MEMORY_FD);
    worker->page = page;
    return page != MAP_FAILED;
}

static bool begin(struct worker *worker, struct err *err)
{
    struct plugins_options options = {
        .settings = &worker->settings,
        .env = &worker->env,
        .open = bind_open,
        .app = worker,
        .on_fault = on_fault,
        .worker = true,
        .data_dir = worker->data,
    };
    const struct watchdog_options watch = {
        .limit_ms = worker->settings.watchdog,
        .record = &worker->page->record,
    };

    setenv("UV_THREADPOOL_SIZE", "4", 1); /* read with the first job */
    worker->loop = loop_new(err);
    if (!worker->loop)
        return false;
    worker->watchdog = watchdog_new(&watch, err);
    if (!worker->watchdog)
        return false;
    worker->shared = shared_new(worker->loop, SHARED_BYTES);
    options.loop = worker->loop;
    options.shared = worker->shared;
    options.watchdog = worker->watchdog;
    worker->plugins = plugins_new(&options);
    worker->renew.run = renew;
    worker->last_waiting = &worker->waiting;
    return !worker->sealed || worker_seal(worker, err);
}

static void run(struct worker *worker)
{
    worker->channel.input = on_input;
    worker->channel.ended = link_ended;
    channel_open(&worker->channel, worker->loop, PAGE_LINK_FD);
    log_redirect(on_log, worker);
    worker_vm_open(worker);
    if (!worker->ending)
        loop_run(worker->loop);
}

static void finish(struct worker *worker)
{
    worker_vm_close(worker);
    channel_flush(&worker->channel);
    log_redirect(NULL, NULL);
    channel_close(&worker->channel);
    plugins_free(worker->plugins);
    shared_free(worker->shared);
    watchdog_free(worker->watchdog);
    loop_free(worker->loop);
    manifest_unref(worker->manifest);
    settings_fini(&worker->settings);
    free(worker->id);
    free(worker->name);
    free(worker->data);
    free(worker->entry);
    buf_fini(&worker->code);
}

int command_worker(void)
{
    static struct worker worker;
    struct buf input = {0};
    struct frame_hello hello;
    struct err err;
    bool ok;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* who died before that has closed the link */
    if (!read_hello(&input, &hello) || !map_page(&worker))
        return 2;
    take_hello(&worker, &hello);
    ok = (hello.flags & FRAME_UNCONFINED) || worker_confine(&hello, &err);
    buf_fini(&input);
    if (!ok || !begin(&worker, &err)) {
        log_err(worker.name, NULL, &err);
        return 1;
    }
    run(&worker);
    finish(&worker);
    return 0;
}
