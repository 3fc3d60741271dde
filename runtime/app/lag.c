#include "app/lag.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app/server.h"
#include "base/buf.h"
#include "base/log.h"
#include "plugin/plugins.h"
#include "vm/watchdog.h"

/* A timer that came more often would keep an idle server awake. */
enum { BEAT_MIN_MS = 100 };

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void add_fields(struct buf *out, const struct lag *lag, uint64_t silent)
{
    buf_printf(out, "{\"ms\":%llu", (unsigned long long)lag->ms);
    if (*lag->file) {
        buf_puts(out, ",\"file\":");
        buf_json_string(out, str_of(lag->file));
        buf_printf(out, ",\"line\":%u", lag->line);
    }
    if (*lag->phase)
        buf_printf(out, ",\"phase\":\"%s\"", lag->phase);
    if (silent)
        buf_printf(out, ",\"notLogged\":%llu", (unsigned long long)silent);
    buf_putc(out, '}');
}

static void tell(const struct lag *lag, uint64_t silent)
{
    struct buf fields = {0}, message = {0};
    struct log_line line = {.level = LOG_WARN, .plugin = lag->vm};

    if (lag->vm)
        buf_puts(&message, "held the loop");
    else
        buf_puts(&message, "the loop stood still, not in a plugin's code,");
    buf_printf(&message, " for %llu ms", (unsigned long long)lag->ms);
    if (*lag->file)
        buf_printf(&message, " at %s:%u", lag->file, lag->line);
    buf_puts(&message, " (RUNTIME_LAG_WARN)");
    add_fields(&fields, lag, silent);
    line.message = message.data;
    line.fields = fields.data;
    line.request_id = *lag->request_id ? lag->request_id : NULL;
    log_write(&line);
    buf_fini(&fields);
    buf_fini(&message);
}

static void count(struct lag_stats *stats, const struct lag *lag)
{
    uint64_t silent;

    if (lag_add(stats, lag->ms, lag->file, lag->line, now_ms(), &silent))
        tell(lag, silent);
}

void lag_told(void *arg, const struct lag *lag)
{
    struct server *server = arg;
    struct plugin *plugin;

    if (server->lag.stopped)
        return;
    plugin = server->plugins ? plugins_find(server->plugins, lag->vm) : NULL;
    server->lag.explained = true;
    count(plugin ? &plugin->lag : &server->lag.other, lag);
}

static void start_timer(struct lag_meter *meter)
{
    const uint64_t warn = meter->server->settings->lag_warn;
    const uint64_t ms = warn < BEAT_MIN_MS ? BEAT_MIN_MS : warn;

    meter->explained = false;
    meter->due_ms = now_ms() + ms;
    timer_start(meter->server->loop, &meter->timer, ms);
}

static void beat(struct timer *timer)
{
    struct lag_meter *meter = (struct lag_meter *)timer;
    const uint64_t now = now_ms();
    const struct lag lag = {.ms = now > meter->due_ms ? now - meter->due_ms : 0};

    if (lag.ms > meter->server->settings->lag_warn && !meter->explained)
        count(&meter->other, &lag);
    start_timer(meter);
}

void lag_meter_start(struct lag_meter *meter, struct server *server)
{
    meter->server = server;
    meter->timer.fire = beat;
    if (server->settings->lag_warn)
        start_timer(meter);
}

void lag_meter_stop(struct lag_meter *meter)
{
    meter->stopped = true;
    timer_stop(&meter->timer);
}
