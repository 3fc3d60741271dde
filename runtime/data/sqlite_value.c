#include "data/sqlite_value.h"

#include <string.h>

static void put(char *at, enum sql_type type, const void *word)
{
    at[0] = (char)type;
    memcpy(at + 1, word, sizeof(uint64_t));
}

void sql_put(struct buf *out, const struct sql_value *value)
{
    const uint64_t len = value->type >= SQL_TEXT ? value->bytes.len : 0;
    char *at = buf_reserve(out, 1 + sizeof(uint64_t) + len);

    if (value->type == SQL_NULL) {
        *at = SQL_NULL;
        out->len++;
        return;
    }
    if (value->type < SQL_TEXT)
        put(at, value->type,
            value->type == SQL_REAL ? (const void *)&value->real : &value->integer);
    else
        put(at, value->type, &len);
    if (len > 0)
        memcpy(at + 1 + sizeof(len), value->bytes.at, len);
    out->len += 1 + sizeof(len) + len;
}

const char *sql_get(const char *at, struct sql_value *value)
{
    uint64_t len;

    value->type = (enum sql_type) * at++;
    if (value->type == SQL_NULL)
        return at;
    if (value->type == SQL_INTEGER || value->type == SQL_BOOLEAN)
        memcpy(&value->integer, at, sizeof(value->integer));
    else if (value->type == SQL_REAL)
        memcpy(&value->real, at, sizeof(value->real));
    at += sizeof(len);
    if (value->type < SQL_TEXT)
        return at;
    memcpy(&len, at - sizeof(len), sizeof(len));
    value->bytes = (struct str){at, len};
    return at + len;
}
