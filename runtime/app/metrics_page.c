#include "app/metrics_page.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "app/otlp.h"
#include "app/server.h"
#include "base/buf.h"
#include "conf/settings.h"
#include "data/bus.h"
#include "data/metrics.h"
#include "data/roster.h"
#include "http/server.h"
#include "plugin/generation.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/vm.h"
#include "worker/pool.h"

static void single(struct buf *out, const char *name, const char *type, const char *help, double v)
{
    metric_family(out, name, type, help);
    metric_value(out, name, NULL, v);
}

/* --- the process --- */

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    double count = -3; /* ".", ".." and the directory itself */

    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_process(const struct server *server, struct buf *out)
{
    const char *labels[] = {"version", BUNTIME_VERSION, "env",
                            runtime_env_name(server->settings->env), NULL};
    const double age = (double)(clock_now_ns() / 1000000 - server->started_ms) / 1000;

    metric_family(out, "buntime_build_info", "gauge", "What runs; always 1.");
    metric_value(out, "buntime_build_info", labels, 1);
    single(out, "process_cpu_seconds_total", "counter", "CPU time of the server process.",
           cpu_seconds());
    single(out, "process_resident_memory_bytes", "gauge", "Resident memory of the server process.",
           resident_bytes());
    single(out, "process_open_fds", "gauge", "Open descriptors of the server process.",
           open_descriptors());
    single(out, "process_start_time_seconds", "gauge", "When the server process began.",
           (double)time(NULL) - age);
}

/* --- replicas --- */

static void write_replicas(const struct server *server, struct buf *out)
{
    double count = 1; /* this one */

    if (!server->bus || bus_alone(server->bus))
        return;
    for (const struct roster_entry *e = roster_first(server->roster); e; e = e->next)
        count++;
    single(out, "buntime_replicas", "gauge", "Servers of this deployment, as this one knows.",
           count);
    single(out, "buntime_replicas_reachable", "gauge", "Whether the others can be heard, 1 or 0.",
           bus_hears(server->bus));
}

/* --- plugins --- */

static void write_states(const struct server *server, struct buf *out)
{
    unsigned counts[PLUGIN_QUARANTINED + 1] = {0};

    for (const struct plugin *p = plugins_first(server->plugins); p; p = p->next)
        counts[p->status]++;
    metric_family(out, "buntime_plugins", "gauge", "Plugins on disk, by what became of them.");
    for (int status = 0; status <= PLUGIN_QUARANTINED; status++) {
        const char *labels[] = {"state", plugin_status_name((enum plugin_status)status), NULL};
        metric_value(out, "buntime_plugins", labels, counts[status]);
    }
}

static void write_reloads(const struct server *server, struct buf *out)
{
    const struct reload_counts *counts = plugins_reload_counts(server->plugins);
    const struct generation *g = plugins_generation(server->plugins);
    const struct {
        const char *result;
        uint64_t count;
    } results[] = {
        {"ok", counts->ok}, {"partial", counts->partial}, {"rejected", counts->rejected}};

    metric_family(out, "buntime_reloads_total", "counter", "Reloads, the first load included.");
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        const char *labels[] = {"result", results[i].result, NULL};
        metric_value(out, "buntime_reloads_total", labels, (double)results[i].count);
    }
    single(out, "buntime_reload_duration_seconds", "gauge", "How long the last reload took.",
           (double)counts->last_ms / 1000);
    single(out, "buntime_generation", "gauge", "The generation that serves.",
           g ? (double)g->number : 0);
}

/* A series of each record; NULL leaves a plugin out. */
struct plugin_series {
    const char *name, *type, *help;
    double (*value)(const struct plugin *plugin, const struct vm *vm); /* vm: NULL unless live */
    bool of_vm;
};

static double errors(const struct plugin *plugin, const struct vm *vm)
{
    (void)vm;
    return (double)plugin->errors;
}

static double memory(const struct plugin *plugin, const struct vm *vm)
{
    (void)plugin;
    return (double)vm_memory(vm);
}

static double limit(const struct plugin *plugin, const struct vm *vm)
{
    (void)plugin;
    return (double)vm_memory_limit(vm);
}

static double collections(const struct plugin *plugin, const struct vm *vm)
{
    (void)plugin;
    return (double)vm_collections(vm);
}

static const struct plugin_series series[] = {
    {"buntime_plugin_errors_total", "counter", "Errors of the plugin's code.", errors, false},
    {"buntime_vm_memory_bytes", "gauge", "Memory that the plugin's VM uses.", memory, true},
    {"buntime_vm_memory_limit_bytes", "gauge", "The VM's budget.", limit, true},
    {"buntime_vm_collections_total", "counter", "Cycles of the VM's garbage collector.",
     collections, true},
};

static const struct vm *vm_of_plugin(const struct plugin *plugin)
{
    return plugin->live ? plugin->live->vm : NULL;
}

static void write_series(const struct server *server, struct buf *out)
{
    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
        metric_family(out, series[i].name, series[i].type, series[i].help);
        for (const struct plugin *p = plugins_first(server->plugins); p; p = p->next) {
            const char *labels[] = {"plugin", p->name, NULL};
            const struct vm *vm = vm_of_plugin(p);
            if (vm || !series[i].of_vm)
                metric_value(out, series[i].name, labels, series[i].value(p, vm));
        }
    }
}

/* The kinds are few and their text static: as long as there are new ones, count those. */
static void write_resources_of(const struct plugin *plugin, struct buf *out)
{
    enum { KINDS = 16 };
    const char *kinds[KINDS];
    unsigned counts[KINDS], len = 0, i;

    for (const struct resource *r = ledger_first(vm_of_plugin(plugin)); r; r = r->next) {
        for (i = 0; i < len && kinds[i] != r->kind; i++)
            continue;
        if (i == KINDS)
            continue;
        if (i == len) {
            kinds[len++] = r->kind;
            counts[i] = 0;
        }
        counts[i]++;
    }
    for (i = 0; i < len; i++) {
        const char *labels[] = {"plugin", plugin->name, "kind", kinds[i], NULL};
        metric_value(out, "buntime_plugin_resources", labels, counts[i]);
    }
}

static void write_resources(const struct server *server, struct buf *out)
{
    metric_family(out, "buntime_plugin_resources", "gauge",
                  "What the plugin holds open: timers, sockets, streams, databases, …");
    for (const struct plugin *p = plugins_first(server->plugins); p; p = p->next) {
        if (vm_of_plugin(p))
            write_resources_of(p, out);
    }
}

/* --- what holds the loop --- */

static void write_lag(const struct server *server, struct buf *out)
{
    static const char *const other[] = {"plugin", "", NULL};

    metric_family(out, "buntime_loop_lag_seconds_total", "counter",
                  "How long plugins (and others: \"\") held the loop beyond RUNTIME_LAG_WARN.");
    metric_value(out, "buntime_loop_lag_seconds_total", other,
                 (double)server->lag.other.total_ms / 1000);
    for (const struct plugin *p = plugins_first(server->plugins); p; p = p->next) {
        const char *labels[] = {"plugin", p->name, NULL};
        metric_value(out, "buntime_loop_lag_seconds_total", labels, (double)p->lag.total_ms / 1000);
    }
}

static void write_spans(const struct server *server, struct buf *out)
{
    static const char *const sent[] = {"result", "sent", NULL}, *const lost[] = {"result",
                                                                                 "dropped", NULL};
    const struct otlp_counts counts = otlp_counts(server->otlp);

    metric_family(out, "buntime_spans_total", "counter", "Spans for the collector.");
    metric_value(out, "buntime_spans_total", sent, (double)counts.sent);
    metric_value(out, "buntime_spans_total", lost, (double)counts.dropped);
}

/* --- worker processes --- */

static void write_workers(const struct server *server, struct buf *out)
{
    const struct pool_stats stats = pool_stats(server->pool);
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"buntime_workers_size", "gauge", "RUNTIME_POOL_SIZE.", (double)stats.size},
        {"buntime_workers", "gauge", "Worker processes.", (double)stats.workers},
        {"buntime_workers_busy", "gauge", "Those with a request.", (double)stats.busy},
        {"buntime_workers_queued", "gauge", "Requests that wait for one.", (double)stats.queued},
        {"buntime_workers_requests_total", "counter", "Requests given to them.",
         (double)stats.requests},
        {"buntime_workers_spawned_total", "counter", "Processes started.", (double)stats.spawned},
        {"buntime_workers_terminated_total", "counter", "Processes ended.",
         (double)stats.terminated},
        {"buntime_workers_killed_total", "counter", "Of those, killed.", (double)stats.killed},
        {"buntime_workers_timeouts_total", "counter", "Requests that took too long.",
         (double)stats.timeouts},
        {"buntime_workers_crashes_total", "counter", "Processes that crashed.",
         (double)stats.crashes},
        {"buntime_workers_rejected_total", "counter", "Requests refused as the queue was full.",
         (double)stats.rejected},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        single(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

void metrics_page(void *app, struct buf *out)
{
    const struct server *server = app;

    write_process(server, out);
    write_replicas(server, out);
    single(out, "buntime_http_requests_in_flight", "gauge", "Requests that are being answered.",
           server->run_count);
    single(out, "buntime_http_open_exchanges", "gauge",
           "Requests whose response is not sent to its end, streams included.",
           server->http ? (double)http_server_open_exchanges(server->http) : 0);
    write_states(server, out);
    write_reloads(server, out);
    write_series(server, out);
    write_resources(server, out);
    write_lag(server, out);
    if (server->otlp)
        write_spans(server, out);
    if (server->pool)
        write_workers(server, out);
    metrics_write(server->metrics, out);
}
