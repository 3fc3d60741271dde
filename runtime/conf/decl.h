/* The declarations of a `config:` block, and whether a value meets one.
 *
 * Where values come from is conf/fields.c's business. Everything lies in the manifest's arena.
 */
#pragma once

#include "base/buf.h"
#include "conf/report.h"

enum decl_type {
    DECL_STRING,
    DECL_PASSWORD,
    DECL_NUMBER,
    DECL_BOOLEAN,
    DECL_ENUM,
    DECL_ARRAY,
    DECL_OBJECT,
};

struct decl {
    const char *key;  /* its own: "host" */
    const char *path; /* dotted: "db.host" */
    const struct value_entry *entry;
    enum decl_type type;
    const char *env;            /* or NULL */
    const struct value *preset; /* the `default`, or NULL */
    bool required, has_min, has_max;
    double min, max;
    const struct value *options; /* a list of scalars, of an enum */
    struct decl *properties;     /* of an object */
    size_t property_count;
};

/* Reads all declarations; what is wrong with one is told, and it is left out. */
struct decl *decl_read(const struct report *r, const struct value *config, size_t *count);

/* Whether the value, of the manifest or a default, meets the declaration. Objects only need to be
 * maps here: their properties are fields of their own.
 */
bool decl_accepts(const struct decl *decl, const struct value *value);

/* "a number from 1 to 10", "one of \"a\", \"b\"": what would have been accepted. */
void decl_expectation(const struct decl *decl, struct buf *out);

bool decl_is_env_name(const char *text);

bool value_is_scalar(const struct value *value);

/* How a scalar is written in an environment variable. */
void value_text(const struct value *value, struct buf *out);
