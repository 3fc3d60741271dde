/* A YAML value with its place in the file (YAML 1.2 core schema: `no` is a string).
 *
 * The values of a document lie in the arena of whoever had it read (conf/yaml.h), are immutable
 * once read, and may be shared by aliases. Also the shape of a resolved configuration
 * (conf/fields.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum value_type {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_NUMBER, /* double; integers up to 2^53 are exact */
    VALUE_STRING,
    VALUE_LIST,
    VALUE_MAP, /* in the order of the file */
};

struct value {
    enum value_type type;
    unsigned line, column; /* from 1; 0 when not from a file */
    union {
        bool boolean;
        double number;
        struct str string; /* also NUL-terminated */
        struct {
            struct value **items;
            size_t len;
        } list;
        struct {
            struct value_entry *entries;
            size_t len;
        } map;
    };
};

struct value_entry {
    struct str key; /* also NUL-terminated */
    unsigned line, column;
    struct value *value;
};

/* The value of `key` in a map, or NULL. */
const struct value *value_get(const struct value *map, const char *key);
const char *value_type_name(enum value_type type); /* "a string", "a list", … for messages */

/* Same type, content and, for maps, order; places in the file do not count. */
bool value_equal(const struct value *a, const struct value *b);
