#include "data/redis_value.h"

#include <string.h>

void redis_put(struct buf *out, const struct redis_value *value)
{
    const bool bytes = value->type >= REDIS_STRING;
    const int64_t word = bytes ? (int64_t)value->bytes.len : value->integer;

    buf_putc(out, (char)value->type);
    if (value->type != REDIS_NIL)
        buf_add(out, &word, sizeof(word));
    if (bytes)
        buf_add_str(out, value->bytes);
}

const char *redis_get(const char *at, struct redis_value *value)
{
    *value = (struct redis_value){.type = (enum redis_type) * at++};
    if (value->type == REDIS_NIL)
        return at;
    memcpy(&value->integer, at, sizeof(value->integer));
    at += sizeof(value->integer);
    if (value->type < REDIS_STRING)
        return at;
    value->bytes = (struct str){at, (size_t)value->integer};
    return at + value->bytes.len;
}

void redis_put_command(struct buf *out, unsigned arguments)
{
    buf_printf(out, "*%u\r\n", arguments);
}

void redis_put_argument(struct buf *out, struct str argument)
{
    buf_printf(out, "$%zu\r\n", argument.len);
    buf_add_str(out, argument);
    buf_add(out, "\r\n", 2);
}
