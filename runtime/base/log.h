/* The log: one line an event on standard error, pretty for people or JSON for machines.
 *
 * Level, format and the secrets to mask are the process's only mutable globals besides metrics.
 * Called from the loop thread only.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_PRETTY, LOG_JSON };

struct log_line {
    enum log_level level;
    const char *message;
    const char *plugin;     /* or NULL */
    const char *request_id; /* or NULL */
    const char *fields;     /* the call's own fields: the text of a JSON object, or NULL */
    const char *traceback;  /* or NULL or "" */
    const char *trace;      /* the traceparent that the request belongs to, or NULL */
};

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);
void log_write(const struct log_line *line);
void log_write_always(const struct log_line *line); /* whatever the level: for the audit */

/* Lines go to `sink` in place of standard error; NULL: back again. */
void log_redirect(void (*sink)(void *arg, const struct log_line *line), void *arg);

/* Runtime messages without a plugin or a request. */
void log_printf(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Logs `err` (message, code, traceback) at error level on behalf of `plugin`. */
void log_err(const char *plugin, const char *request_id, const struct err *err);

/* A value that must never be written: every line that holds it shows *** instead. Values
 * shorter than 4 bytes are not masked. Counted: forget once for each add.
 */
void log_secret_add(const char *value);
void log_secret_forget(const char *value);

/* Replaces every secret in `text` by ***, in place (the text never grows). */
void log_mask(char *text);
