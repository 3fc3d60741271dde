/* Telling problems of one manifest: what every checker of it shares. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "conf/problems.h"
#include "conf/value.h"

struct settings;

struct report {
    struct arena *arena; /* of the manifest: for what the checkers build */
    struct problems *problems;
    const char *code, *file, *dir;
    const struct settings *settings;
};

/* An error at the place of a value; returns false. */
bool report_at(const struct report *r, const struct value *value, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* An error or a warning at a key. */
bool report_key(const struct report *r, const struct value_entry *entry, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void report_warning(const struct report *r, unsigned line, unsigned column, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* An error about the whole file. */
bool report_file(const struct report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Whether the value has the type; when not, says so: "NAME must be a list, got a string". */
bool report_type(const struct report *r,
                 const char *name,
                 const struct value *value,
                 enum value_type type);

/* "NAME must be WANTED, got ..."; returns false. */
bool report_wanted(const struct report *r,
                   const char *name,
                   const struct value *value,
                   const char *wanted);

/* A string that is not empty, or NULL after saying so. */
const char *report_text(const struct report *r, const char *name, const struct value *value);

/* Warns when `entry` looks like one of the NULL-terminated `known` mistyped. `where` is put in
 * front ("" or "config.apiKey: ").
 */
void report_near_miss(const struct report *r,
                      const struct value_entry *entry,
                      const char *where,
                      const char *const *known);

/* `text` as a JSON string for a message, shortened when it is long. In the arena. */
const char *report_quote(const struct report *r, struct str text);
