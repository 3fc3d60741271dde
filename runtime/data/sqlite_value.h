/* SQL values as flat bytes: how parameters go to a database and rows come back without either
 * side knowing the other's types. A run of values is a buffer; who reads it knows how many.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* SQL_BOOLEAN is an integer, SQL_JSON bytes; SQLite has neither. */
enum sql_type { SQL_NULL, SQL_INTEGER, SQL_BOOLEAN, SQL_REAL, SQL_TEXT, SQL_BLOB, SQL_JSON };

struct sql_value {
    enum sql_type type;
    union {
        int64_t integer;
        double real;
        struct str bytes; /* text, blob: borrowed */
    };
};

void sql_put(struct buf *out, const struct sql_value *value);

/* Reads the value at `at`; returns where the next one is. */
const char *sql_get(const char *at, struct sql_value *value);
