#include "bind/cron_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/zone.h"
#include "data/cron_book.h"
#include "data/cron_lock.h"
#include "ev/loop.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/handle.h"
#include "vm/task.h"
#include "vm/vm.h"

#define KIND "cron"

enum {
    CHECK_MS = 60000,     /* the clock is looked at that often: somebody may set it */
    SET_BACK_MS = 600000, /* from here on it was set, not adjusted */
    ASK_AGAIN_MS = 1000,
    PATIENCE_MS = 20000, /* for an answer of who runs a time; then it is run here */
};

struct cron_job {
    struct timer timer; /* first: fire() casts back */
    struct resource resource;
    struct vm *vm;
    struct handle *handle;
    struct cron_record *record;
    struct cron_locks *locks; /* NULL: nobody else runs it */
    struct cron_claim *claim; /* that it waits for */
    uint64_t asked_ms;        /* since when it wants to know, by the loop's clock; 0: it does not */
    struct cron cron;
    struct zone *zone;
    char *name, *line, *timezone; /* timezone NULL: the machine's */
    int function;                 /* registry reference */
    bool overlap;
    double jitter;    /* seconds */
    int64_t due;      /* the time that is waited for, in seconds since 1970 */
    int64_t fire_ms;  /* that and the jitter */
    int64_t seen_ms;  /* what the clock showed when it was last looked at */
    unsigned running; /* tasks that hold the struct */
    bool closed;
};

/* One firing. */
struct job_run {
    struct cron_job *job;
    int64_t began_ms;
};

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the end of a job --- */

static void free_job(struct cron_job *job)
{
    cron_book_drop(job->record);
    zone_free(job->zone);
    free(job->name);
    free(job->line);
    free(job->timezone);
    free(job);
}

/* Freed at once, or by the last firing that still runs. */
void cron_job_stop(struct cron_job *job)
{
    timer_stop(&job->timer);
    if (job->claim)
        cron_claim_cancel(job->claim);
    ledger_remove(&job->resource);
    handle_sever(&job->handle);
    luaL_unref(vm_main(job->vm), LUA_REGISTRYINDEX, job->function);
    job->closed = true;
    if (job->running == 0)
        free_job(job);
}

static struct cron_job *job_of(const struct resource *resource)
{
    return (struct cron_job *)((char *)resource - offsetof(struct cron_job, resource));
}

static void close_resource(struct resource *resource)
{
    cron_job_stop(job_of(resource));
}

/* --- running --- */

static void end_lease(struct cron_record *record)
{
    if (record->lease)
        cron_lease_end(record->lease);
    record->lease = NULL;
}

static void ended(struct task *task, bool ok, const struct err *err, void *arg)
{
    struct job_run *run = arg;
    struct cron_job *job = run->job;
    struct cron_record *record = job->record;

    if (--record->running == 0)
        end_lease(record);
    record->took_ms = wall_ms() - run->began_ms;
    snprintf(record->error, sizeof(record->error), "%.255s", ok ? "" : err->message);
    record->failures += !ok;
    if (!ok && !task_cancelled(task))
        vm_report(job->vm, err);
    free(run);
    if (--job->running == 0 && job->closed)
        free_job(job);
}

static void run(struct cron_job *job, int64_t now_ms)
{
    struct cron_record *record = job->record;
    struct job_run *run;
    struct err err;
    struct task *task = task_new(job->vm, &err);

    if (!task) {
        vm_report(job->vm, &err);
        return;
    }
    if (job->locks && !job->overlap && !record->lease)
        record->lease = cron_lease_keep(job->locks, record->key);
    lua_rawgeti(task_state(task), LUA_REGISTRYINDEX, job->function);
    run = mem_alloc(sizeof(*run));
    *run = (struct job_run){job, now_ms};
    job->running++;
    record->running++;
    record->runs++;
    record->last_ms = now_ms;
    task_start(task, 0, ended, run);
}

/* --- waiting --- */

static bool is_live(const struct cron_job *job)
{
    const struct instance *instance = vm_host(job->vm);

    return !instance || instance->state == INSTANCE_LIVE;
}

static void wait(struct cron_job *job)
{
    int64_t left = job->fire_ms - wall_ms();

    left = left < 0 ? 0 : left > CHECK_MS ? CHECK_MS : left;
    timer_start(vm_loop(job->vm), &job->timer, (uint64_t)left);
}

static int64_t random_ms(double seconds)
{
    uint32_t random;

    if (seconds <= 0)
        return 0;
    random_bytes(&random, sizeof(random));
    return (int64_t)(seconds * 1000 * (double)random / 4294967296.0);
}

static void arm(struct cron_job *job, int64_t due)
{
    job->due = due;
    job->fire_ms = due * 1000 + random_ms(job->jitter);
    job->record->armed = due;
    job->asked_ms = 0;
    wait(job);
}

static void arm_after(struct cron_job *job, int64_t now_ms)
{
    arm(job, cron_next(&job->cron, job->zone, now_ms / 1000));
}

/* The time is over: run, or left out. */
static void settle(struct cron_job *job, bool runs)
{
    const int64_t now = wall_ms();

    job->record->claimed = job->due;
    job->asked_ms = 0;
    job->running++; /* the function may stop its own job */
    if (runs)
        run(job, now);
    job->running--;
    if (!job->closed)
        arm_after(job, now);
    else if (job->running == 0)
        free_job(job);
}

/* --- who runs it --- */

static void tell_unknown(const struct cron_job *job, const char *problem)
{
    const struct instance *instance = vm_host(job->vm);

    plugins_notice(instance->plugins, LOG_WARN, vm_name(job->vm),
                   "the schedule %s is run, although other replicas may run it too: Redis does not "
                   "say (%.200s)",
                   job->resource.label, problem);
}

/* A short outage is waited for; then it is rather run twice than not at all. */
static void unknown(struct cron_job *job, const char *problem)
{
    struct loop *loop = vm_loop(job->vm);

    if (loop_now_ms(loop) - job->asked_ms < PATIENCE_MS) {
        timer_start(loop, &job->timer, ASK_AGAIN_MS);
        return;
    }
    tell_unknown(job, problem);
    settle(job, true);
}

static void claimed(void *arg, enum cron_verdict verdict, const char *problem)
{
    struct cron_job *job = arg;

    job->claim = NULL;
    if (verdict == CRON_UNKNOWN) {
        unknown(job, problem);
        return;
    }
    job->record->elsewhere += verdict == CRON_TAKEN;
    job->record->skipped += verdict == CRON_BUSY;
    settle(job, verdict == CRON_MINE);
}

static void ask(struct cron_job *job)
{
    const struct cron_time time = {job->record->key, job->due, job->overlap};

    if (job->asked_ms == 0)
        job->asked_ms = loop_now_ms(vm_loop(job->vm));
    job->claim = cron_claim_start(job->locks, &time, claimed, job);
}

/* --- the time has come --- */

static void begin_time(struct cron_job *job, int64_t now_ms)
{
    struct cron_record *record = job->record;

    if (record->claimed >= job->due && record->claimed <= now_ms / 1000) {
        arm_after(job, now_ms); /* the instance before has run it */
    } else if (record->running > 0 && !job->overlap) {
        record->skipped++;
        settle(job, false);
    } else if (job->locks) {
        ask(job);
    } else {
        settle(job, true);
    }
}

static void fire(struct timer *timer)
{
    struct cron_job *job = (struct cron_job *)timer;
    const int64_t now = wall_ms();
    const bool set_back = now < job->seen_ms - SET_BACK_MS;

    job->seen_ms = now;
    if (set_back)
        arm_after(job, now);
    else if (now < job->fire_ms)
        wait(job);
    else if (is_live(job)) /* else go_live() goes on with it */
        begin_time(job, now);
}

/* Told at the swap instead of looked for: reloads that follow each other quickly would replace
 * every instance before it had looked.
 */
static void go_live(struct resource *resource)
{
    wait(job_of(resource));
}

/* --- the record that instances of a plugin share --- */

static bool is_twin(const struct cron_job *a, const struct cron_job *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->line, b->line) == 0 &&
           strcmp(a->timezone ? a->timezone : "", b->timezone ? b->timezone : "") == 0;
}

/* How many of the VM's jobs are named the same: each has a record of its own. */
static unsigned count_twins(const struct cron_job *job)
{
    unsigned count = 0;

    for (const struct resource *at = ledger_first(job->vm); at; at = at->next)
        count += strcmp(at->kind, KIND) == 0 && is_twin(job, job_of(at));
    return count;
}

/* What makes it the same schedule in the next instance. Where in the file it stands does not: an
 * edit further up moves that.
 */
static void take_record(struct cron_job *job, struct cron_book *book, bool named)
{
    char *key = mem_printf("%s\n%s\n%s\n%s\n%u", vm_name(job->vm), named ? job->name : "",
                           job->line, job->timezone ? job->timezone : "", count_twins(job));

    job->record = cron_book_take(book, key);
    free(key);
}

/* A time that the instance before was to run just now, and perhaps will not any more. */
static bool inherits(const struct cron_job *job, int64_t now_ms)
{
    const struct cron_record *record = job->record;

    return record->refs > 1 && record->armed > record->claimed && record->armed <= now_ms / 1000;
}

static void begin(struct cron_job *job)
{
    const int64_t now = wall_ms();

    job->seen_ms = now;
    if (inherits(job, now))
        arm(job, job->record->armed);
    else
        arm_after(job, now);
}

/* --- the whole --- */

struct cron_job *cron_job_start(const struct cron_job_options *options)
{
    struct cron_job *job = mem_alloc(sizeof(*job));

    job->timer.fire = fire;
    job->vm = options->vm;
    job->locks = cron_book_locks(options->book);
    job->cron = options->cron;
    job->zone = options->zone;
    job->name = mem_copy(options->name ? options->name : options->place);
    job->line = mem_copy(options->line);
    job->timezone = mem_copy(options->timezone);
    job->function = options->function;
    job->overlap = options->overlap;
    job->jitter = options->jitter;
    job->resource.kind = KIND;
    job->resource.close = close_resource;
    job->resource.live = go_live;
    snprintf(job->resource.label, sizeof(job->resource.label), "%.40s %.22s", job->name, job->line);
    take_record(job, options->book, options->name != NULL);
    ledger_add(job->vm, &job->resource);
    begin(job);
    return job;
}

struct handle **cron_job_handle(struct cron_job *job)
{
    return &job->handle;
}

void cron_job_status(const struct cron_job *job, struct cron_status *status)
{
    const struct cron_record *record = job->record;

    *status = (struct cron_status){
        .name = job->name,
        .line = job->line,
        .timezone = job->timezone,
        .next = (double)job->due,
        .running = record->running > 0,
        .has_run = record->last_ms != CRON_NEVER,
        .runs = record->runs,
        .failures = record->failures,
        .skipped = record->skipped,
        .elsewhere = record->elsewhere,
        .last = (double)record->last_ms / 1000,
        .seconds = (double)record->took_ms / 1000,
        .error = record->error,
    };
}

bool cron_status(const struct resource *resource, struct cron_status *status)
{
    if (strcmp(resource->kind, KIND) != 0)
        return false;
    cron_job_status(job_of(resource), status);
    return true;
}
