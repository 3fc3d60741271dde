#include "data/key_row.h"

#include "data/digest_map.h"
#include "data/sqlite_value.h"

enum { TEXTS = 7 };

static const char *get_text(const char *at, struct buf *out, size_t *offset)
{
    struct sql_value value;

    at = sql_get(at, &value);
    *offset = out->len;
    if (value.type == SQL_TEXT)
        buf_add(out, value.bytes.at, value.bytes.len);
    buf_add(out, "", 1);
    return at;
}

static const char *get_integer(const char *at, int64_t *out)
{
    struct sql_value value;

    at = sql_get(at, &value);
    *out = value.type == SQL_INTEGER ? value.integer : 0;
    return at;
}

static const char *get_digest(const char *at, const unsigned char **out)
{
    struct sql_value value;

    at = sql_get(at, &value);
    *out = value.type == SQL_BLOB && value.bytes.len == DIGEST_BYTES
               ? (const unsigned char *)value.bytes.at
               : NULL;
    return at;
}

const char *key_row_read(const char *at, struct buf *text, struct key_record *key)
{
    const char **const texts[TEXTS] = {
        &key->id,          &key->name,       &key->prefix,  &key->role,
        &key->permissions, &key->namespaces, &key->creator,
    };
    size_t offset[TEXTS];
    int64_t revoked;

    buf_reset(text);
    at = get_digest(at, &key->digest);
    for (size_t i = 0; i < TEXTS; i++)
        at = get_text(at, text, &offset[i]);
    for (size_t i = 0; i < TEXTS; i++)
        *texts[i] = text->data + offset[i];
    at = get_integer(at, &key->created);
    at = get_integer(at, &key->expires);
    at = get_integer(at, &key->used);
    at = get_integer(at, &revoked);
    key->revoked = revoked != 0;
    return at;
}

struct session_record key_row_session(const struct key_record *row)
{
    return (struct session_record){
        .digest = row->digest, .key = row->id, .created = row->created, .used = row->used};
}
