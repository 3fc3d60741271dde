#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log_impl.h"

enum { STALL_MS = 200 };

static enum log_level threshold = LOG_INFO;
static enum log_format format = LOG_PRETTY;
static bool colored;
static void (*redirected)(void *arg, const struct log_line *line);
static void *redirected_arg;

/* Kept from line to line, so that the usual line allocates nothing. */
static struct buf line_buf, scratch;

static const struct {
    const char *name, *label, *color;
} levels[] = {
    [LOG_DEBUG] = {"debug", "DEBUG", "\x1b[90m"},
    [LOG_INFO] = {"info", "INFO ", "\x1b[32m"},
    [LOG_WARN] = {"warn", "WARN ", "\x1b[33m"},
    [LOG_ERROR] = {"error", "ERROR", "\x1b[31m"},
};

#define DIM "\x1b[90m"
#define PLAIN "\x1b[0m"

void log_setup(enum log_level level, enum log_format new_format)
{
    threshold = level;
    format = new_format;
    colored = format == LOG_PRETTY && isatty(STDERR_FILENO);
}

bool log_enabled(enum log_level level)
{
    return level >= threshold;
}

/* Calendar arithmetic is most of a line's cost, so its result is kept for the second. */
static void add_time(struct buf *out)
{
    static time_t second = -1;
    static char utc[24], local[12];
    struct timespec now;
    struct tm parts;
    char ms[] = ".000";

    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != second) {
        second = now.tv_sec;
        strftime(utc, sizeof(utc), "%Y-%m-%dT%H:%M:%S", gmtime_r(&second, &parts));
        strftime(local, sizeof(local), "%H:%M:%S", localtime_r(&second, &parts));
    }
    ms[1] = (char)('0' + now.tv_nsec / 100000000);
    ms[2] = (char)('0' + now.tv_nsec / 10000000 % 10);
    ms[3] = (char)('0' + now.tv_nsec / 1000000 % 10);
    buf_puts(out, format == LOG_JSON ? utc : local);
    buf_puts(out, ms);
    if (format == LOG_JSON)
        buf_putc(out, 'Z');
}

static void add_member(struct buf *out, const char *key, const char *text)
{
    if (!text)
        return;
    buf_puts(out, ",\"");
    buf_puts(out, key);
    buf_puts(out, "\":");
    buf_json_string(out, mask_text(&scratch, str_of(text)));
}

static bool is_taken(struct str key)
{
    static const char *const taken[] = {"\"time\"",   "\"level\"",     "\"msg\"",
                                        "\"plugin\"", "\"requestId\"", "\"traceback\""};

    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (str_equal(key, str_of(taken[i])))
            return true;
    }
    return false;
}

/* A field must not pass itself off as one of the line's own: it gets a "_" in front. */
static void add_fields_json(struct buf *out, const char *fields)
{
    struct str rest;
    struct log_field field;

    if (!log_fields_open(mask_json(&scratch, str_of(fields)), &rest)) {
        add_member(out, "fields", fields);
        return;
    }
    while (log_fields_next(&rest, &field)) {
        buf_puts(out, is_taken(field.key) ? ",\"_" : ",\"");
        buf_add(out, field.key.at + 1, field.key.len - 1);
        buf_putc(out, ':');
        buf_add_str(out, field.value);
    }
}

/* Of "version-id-span-flags" the id. */
static void add_trace(struct buf *out, const char *traceparent)
{
    const char *id = strchr(traceparent, '-');

    buf_puts(out, ",\"traceId\":\"");
    if (id)
        buf_add(out, id + 1, strcspn(id + 1, "-"));
    buf_putc(out, '"');
}

static void make_json(struct buf *out, const struct log_line *line)
{
    buf_puts(out, "{\"time\":\"");
    add_time(out);
    buf_puts(out, "\",\"level\":\"");
    buf_puts(out, levels[line->level].name);
    buf_putc(out, '"');
    add_member(out, "msg", line->message ? line->message : "");
    add_member(out, "plugin", line->plugin);
    add_member(out, "requestId", line->request_id);
    if (line->trace)
        add_trace(out, line->trace);
    if (line->fields)
        add_fields_json(out, line->fields);
    if (line->traceback && *line->traceback)
        add_member(out, "traceback", line->traceback);
    buf_puts(out, "}\n");
}

static void add_color(struct buf *out, const char *color)
{
    if (colored)
        buf_puts(out, color);
}

/* Lines after the first are indented and control bytes made visible: text that a client sent
 * must neither look like a line of ours nor command the terminal.
 */
static void add_visible(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        const unsigned char byte = (unsigned char)text.at[i];
        if (byte == '\n')
            buf_puts(out, "\n    ");
        else if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            buf_printf(out, "\\x%02x", byte);
        else
            buf_putc(out, (char)byte);
    }
}

static bool is_bare_word(struct str json)
{
    if (json.len < 3 || json.at[0] != '"')
        return false;
    for (size_t i = 1; i + 1 < json.len; i++) {
        if (json.at[i] == ' ' || json.at[i] == '\\' || json.at[i] == '=')
            return false;
    }
    return true;
}

static struct str unquote(struct str json)
{
    return (struct str){json.at + 1, json.len - 2};
}

static void add_fields_pretty(struct buf *out, const char *fields)
{
    struct str rest;
    struct log_field field;

    if (!log_fields_open(mask_json(&scratch, str_of(fields)), &rest)) {
        buf_putc(out, ' ');
        add_visible(out, mask_text(&scratch, str_of(fields)));
        return;
    }
    while (log_fields_next(&rest, &field)) {
        buf_putc(out, ' ');
        add_color(out, DIM);
        add_visible(out, is_bare_word(field.key) ? unquote(field.key) : field.key);
        buf_putc(out, '=');
        add_color(out, PLAIN);
        add_visible(out, is_bare_word(field.value) ? unquote(field.value) : field.value);
    }
}

static void add_tail_pretty(struct buf *out, const struct log_line *line)
{
    if (line->fields)
        add_fields_pretty(out, line->fields);
    if (line->request_id) {
        add_color(out, DIM);
        buf_puts(out, " requestId=");
        add_visible(out, mask_text(&scratch, str_of(line->request_id)));
        add_color(out, PLAIN);
    }
    if (line->traceback && *line->traceback) {
        buf_puts(out, "\n    ");
        add_visible(out, mask_text(&scratch, str_of(line->traceback)));
    }
}

static void make_pretty(struct buf *out, const struct log_line *line)
{
    add_color(out, DIM);
    add_time(out);
    add_color(out, PLAIN);
    buf_putc(out, ' ');
    add_color(out, levels[line->level].color);
    buf_puts(out, levels[line->level].label);
    add_color(out, PLAIN);
    if (line->plugin) {
        buf_puts(out, " [");
        add_visible(out, mask_text(&scratch, str_of(line->plugin)));
        buf_putc(out, ']');
    }
    buf_putc(out, ' ');
    add_visible(out, mask_text(&scratch, str_of(line->message ? line->message : "")));
    add_tail_pretty(out, line);
    buf_putc(out, '\n');
}

/* One write(2) for a whole line, so that lines of several processes do not mix. A reader that
 * stands still costs the line, never the loop.
 */
static void put(const char *at, size_t left)
{
    while (left > 0) {
        const ssize_t n = write(STDERR_FILENO, at, left);
        struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

        if (n >= 0) {
            at += n;
            left -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (poll(&out, 1, STALL_MS) <= 0)
                return;
        } else if (errno != EINTR) {
            return;
        }
    }
}

void log_write(const struct log_line *line)
{
    if (log_enabled(line->level))
        log_write_always(line);
}

void log_redirect(void (*sink)(void *arg, const struct log_line *line), void *arg)
{
    redirected = sink;
    redirected_arg = arg;
}

void log_write_always(const struct log_line *line)
{
    if (redirected) {
        redirected(redirected_arg, line);
        return;
    }
    buf_reset(&line_buf);
    if (format == LOG_JSON)
        make_json(&line_buf, line);
    else
        make_pretty(&line_buf, line);
    put(line_buf.data, line_buf.len);
}

void log_printf(enum log_level level, const char *fmt, ...)
{
    char text[ERR_MESSAGE_MAX];
    va_list args;

    if (!log_enabled(level))
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    log_write(&(struct log_line){.level = level, .message = text});
}

void log_err(const char *plugin, const char *request_id, const struct err *err)
{
    struct buf fields = {0};

    buf_puts(&fields, "{\"code\":");
    buf_json_string(&fields, str_of(err->code));
    if (err->file[0]) {
        buf_puts(&fields, ",\"file\":");
        buf_json_string(&fields, str_of(err->file));
    }
    if (err->line)
        buf_printf(&fields, ",\"line\":%u", err->line);
    buf_putc(&fields, '}');
    log_write(&(struct log_line){.level = LOG_ERROR,
                                 .message = err->message,
                                 .plugin = plugin,
                                 .request_id = request_id,
                                 .fields = fields.data,
                                 .traceback = err->traceback});
    buf_fini(&fields);
}
