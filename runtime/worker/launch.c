/* How a worker process is started: this program again, with a link and a shared page, an
 * environment of its own and a temporary folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/environ.h"
#include "worker/gate.h"
#include "worker/policy.h"
#include "worker/pool_impl.h"
#include "worker/sandbox.h"

enum { LINK_BYTES = 512 * 1024 };

/* --- the environment --- */

static char **make_environ(const struct process *process)
{
    /* What the program itself looks at while it is developed and tested. */
    static const char *const own[] = {"BUNTIME_LUA_DIR", "BUNTIME_GC_STRESS", "ASAN_OPTIONS",
                                      "UBSAN_OPTIONS",   "LSAN_OPTIONS",      NULL};
    const struct environ_facts facts = {
        .worker_id = process->id,
        .api_url = process->pool->api_url,
        .temp_dir = process->tmp,
        .server = process->pool->options.env,
        .own = own,
    };

    return environ_make(process->group->app, &facts);
}

/* --- the sandbox --- */

static bool check_required(const struct settings *settings, struct err *err)
{
    char missing[256];

    sandbox_missing(SANDBOX_ALL, sandbox_supported(), missing, sizeof(missing));
    return settings->sandbox != SANDBOX_REQUIRE || !*missing ||
           err_set(err, "SANDBOX_UNAVAILABLE",
                   "RUNTIME_SANDBOX=require: this kernel has no sandbox for %s", missing);
}

static void tell_refused(void *arg, const char *what)
{
    const struct process *process = arg;
    const struct pool_options *options = &process->pool->options;
    char message[384];
    const struct log_line line = {
        .level = LOG_WARN, .message = message, .plugin = process->group->app->name};

    snprintf(message, sizeof(message), "the app asked for %s, which permissions.net does not have",
             what);
    if (options->on_log)
        options->on_log(options->app, process->group->app, &line);
}

/* `*fd` is for the worker; without permissions.net there is no gate. */
static bool make_gate(struct process *process, int *fd, struct err *err)
{
    const struct pool_options *options = &process->pool->options;
    const struct gate_options gate = {
        .loop = options->loop,
        .net = process->group->app->manifest->permissions.net,
        .app = process,
        .refused = tell_refused,
    };
    int pair[2];

    if (!*gate.net || options->settings->sandbox == SANDBOX_OFF)
        return true;
    if (!gate_pair(pair, err))
        return false;
    *fd = pair[1];
    process->gate = gate_new(&gate, pair[0], err);
    return process->gate != NULL;
}

/* --- starting --- */

static bool make_page(struct process *process, int *fd, struct err *err)
{
    void *page = MAP_FAILED;

    *fd = memfd_create("buntime-worker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd >= 0 && ftruncate(*fd, sizeof(struct worker_page)) == 0 &&
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        page = mmap(NULL, sizeof(struct worker_page), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (page == MAP_FAILED)
        return err_set(err, "NO_MEMORY", "cannot share memory with a worker: %s", strerror(errno));
    process->page = page;
    return true;
}

static bool make_link(int pair[2], struct err *err)
{
    const int bytes = LINK_BYTES;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return err_set(err, "NO_LINK", "cannot make a socket pair: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
        fcntl(pair[i], F_SETFL, O_NONBLOCK);
    }
    return true;
}

static bool spawn(struct process *process, const int *fds, int fd_count, struct err *err)
{
    char **env = make_environ(process);
    char *argv[] = {"buntime", "worker", process->group->app->name, process->id, NULL};
    const struct child_options options = {
        .path = "/proc/self/exe",
        .argv = argv,
        .env = env,
        .fds = fds,
        .fd_count = fd_count,
    };
    bool ok;

    ok = child_start(process->pool->children, &process->child, &options, err);
    process->pid = (int)process->child.pid;
    environ_free(env);
    return ok;
}

static uint64_t watchdog_of(const struct process *process)
{
    const uint64_t limit = process->pool->options.settings->watchdog;
    const uint64_t timeout = process->group->app->manifest->timeout;

    return limit && timeout < limit ? timeout : limit;
}

static void say_hello(struct process *process, const struct policy *policy)
{
    const struct settings *settings = process->pool->options.settings;
    const struct app *app = process->group->app;
    const struct manifest *manifest = app->manifest;
    const struct frame_hello hello = {
        .name = str_of(app->name),
        .version = str_of(app->version),
        .base = str_of(app->base),
        .dir = str_of(app->dir),
        .entrypoint = str_of(manifest->entrypoint),
        .worker = str_of(process->id),
        .tmp = str_of(process->tmp),
        .data = str_of(policy->data),
        .memory = manifest->memory ? manifest->memory : settings->vm_memory,
        .watchdog_ms = watchdog_of(process),
        .log_level = (uint32_t)settings->log_level,
        .flags = (manifest->ttl == 0 ? FRAME_FRESH : 0u) |
                 (settings->env == ENV_DEVELOPMENT ? FRAME_DEVELOPMENT : 0u) |
                 (settings->sandbox == SANDBOX_OFF ? FRAME_UNCONFINED : 0u),
    };

    frame_add_hello(channel_out(&process->channel), &hello, (const char *const *)policy->read,
                    (const char *const *)policy->write, manifest->permissions.net);
}

/* What the process is given: the link, the page, the gate. */
enum { LINK, PAGE, GATE, FDS };

static bool begin(struct process *process, int *fds, int *link, struct err *err)
{
    int pair[2] = {-1, -1};
    bool ok = make_link(pair, err);

    *link = pair[0];
    fds[LINK] = pair[1];
    ok = ok && make_page(process, &fds[PAGE], err) && make_gate(process, &fds[GATE], err);
    return ok && spawn(process, fds, fds[GATE] >= 0 ? FDS : GATE, err);
}

static void undo(struct process *process, int link)
{
    if (link >= 0)
        close(link);
    if (process->page)
        munmap(process->page, sizeof(*process->page));
    gate_free(process->gate);
    scratch_remove(process->pool, process->tmp);
}

bool launch(struct process *process, struct err *err)
{
    const struct settings *settings = process->pool->options.settings;
    int fds[FDS] = {-1, -1, -1}, link = -1;
    struct policy *policy = NULL;
    bool ok = check_required(settings, err) && scratch_make(process, err) &&
              (policy = policy_new(process->group->app, settings, process->tmp, err)) &&
              begin(process, fds, &link, err);

    for (int i = 0; i < FDS; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (ok) {
        channel_open(&process->channel, process->pool->options.loop, link);
        say_hello(process, policy);
        channel_flush(&process->channel); /* before anything else is done */
    } else {
        undo(process, link);
    }
    policy_free(policy);
    return ok;
}
