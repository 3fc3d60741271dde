/* Values between the flat bytes of sql_put() and what PostgreSQL sends and takes, which is text but
 * for blobs going out.
 */
#include "data/postgres_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"

enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_JSON = 114,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_JSONB = 3802,
};

/* --- going out --- */

/* The shortest that reads back as the same number. */
static void put_real(struct pg_params *params, double d, locale_t c_locale)
{
    const locale_t before = uselocale(c_locale);
    char text[32];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    uselocale(before);
    if (d - d != 0) /* inf, spelled as SQL does */
        snprintf(text, sizeof(text), "%s", d > 0 ? "Infinity" : "-Infinity");
    buf_puts(&params->text, text);
}

/* The value's text, NUL-terminated; what starts where is set when the buffer no longer moves. */
static void
put_param(struct pg_params *params, unsigned i, const struct sql_value *value, locale_t c_locale)
{
    const size_t start = params->text.len;

    switch (value->type) {
    case SQL_INTEGER:
        buf_printf(&params->text, "%lld", (long long)value->integer);
        break;
    case SQL_BOOLEAN:
        buf_puts(&params->text, value->integer ? "true" : "false");
        break;
    case SQL_REAL:
        put_real(params, value->real, c_locale);
        break;
    case SQL_BLOB:
        params->formats[i] = 1;
        params->types[i] = OID_BYTEA;
        buf_add_str(&params->text, value->bytes);
        break;
    case SQL_TEXT:
    case SQL_JSON:
        buf_add_str(&params->text, value->bytes);
        break;
    case SQL_NULL:
        params->lengths[i] = -1;
        break;
    }
    if (params->lengths[i] == 0)
        params->lengths[i] = (int)(params->text.len - start);
    buf_putc(&params->text, '\0');
}

void pg_params_init(struct pg_params *params, const struct postgres_request *r)
{
    const size_t count = r->value_count + 1u;
    const char *at = r->values.data;

    *params = (struct pg_params){
        .values = mem_alloc(count * sizeof(*params->values)),
        .lengths = mem_alloc(count * sizeof(*params->lengths)),
        .formats = mem_alloc(count * sizeof(*params->formats)),
        .types = mem_alloc(count * sizeof(*params->types)),
    };
    for (unsigned i = 0; i < r->value_count; i++) {
        struct sql_value value;

        at = sql_get(at, &value);
        put_param(params, i, &value, r->pool->c_locale);
    }
    at = params->text.data;
    for (unsigned i = 0; i < r->value_count; i++) {
        const bool null = params->lengths[i] < 0;

        params->values[i] = null ? NULL : at;
        at += (null ? 0 : params->lengths[i]) + 1;
    }
}

void pg_params_fini(struct pg_params *params)
{
    free(params->values);
    free(params->lengths);
    free(params->formats);
    free(params->types);
    buf_fini(&params->text);
}

/* --- coming in --- */

/* "\x…" as bytes; also the escapes of old servers. */
static void put_bytes(struct postgres *pool, struct str text, struct buf *out)
{
    struct sql_value value = {.type = SQL_BLOB};
    unsigned char *bytes = NULL;

    buf_reset(&pool->scratch);
    buf_reserve(&pool->scratch, text.len);
    if (text.len >= 2 && text.at[0] == '\\' && text.at[1] == 'x' &&
        hex_decode((struct str){text.at + 2, text.len - 2}, pool->scratch.data)) {
        value.bytes = (struct str){pool->scratch.data, text.len / 2 - 1};
    } else {
        bytes = pq.unescapeBytea((const unsigned char *)text.at, &value.bytes.len);
        value.bytes.at = (const char *)bytes;
    }
    sql_put(out, &value);
    pq.freemem(bytes);
}

/* "2024-01-02 03:04:05.6+00" becomes "2024-01-02T03:04:05.6Z". What is not of this form
 * ("infinity", dates before Christ, another DateStyle) stays as it is.
 */
static void put_time(struct postgres *pool, struct str text, struct buf *out)
{
    struct buf *iso = &pool->scratch;
    const char *sign;

    buf_reset(iso);
    buf_add_str(iso, text);
    if (text.len >= 19 && text.at[4] == '-' && text.at[10] == ' ' && text.at[text.len - 1] != 'C') {
        iso->data[10] = 'T';
        sign = text.at + text.len - 3;
        if (memcmp(sign, "+00", 3) == 0) {
            iso->len -= 3;
            buf_putc(iso, 'Z');
        } else if (*sign == '+' || *sign == '-') {
            buf_puts(iso, ":00");
        }
    }
    sql_put(out, &(struct sql_value){.type = SQL_TEXT, .bytes = buf_str(iso)});
}

void pg_value_read(
    struct postgres *pool, const PGresult *result, int row, int column, struct buf *out)
{
    const char *text = pq.getvalue(result, row, column);
    const Oid type = pq.ftype(result, column);
    const size_t len = (size_t)pq.getlength(result, row, column);
    struct sql_value value = {.type = SQL_TEXT, .bytes = {text, len}};

    if (pq.getisnull(result, row, column))
        value.type = SQL_NULL;
    else if (type == OID_BOOL)
        value = (struct sql_value){.type = SQL_BOOLEAN, .integer = *text == 't'};
    else if (type == OID_INT8 || type == OID_INT4 || type == OID_INT2 || type == OID_OID)
        value = (struct sql_value){.type = SQL_INTEGER, .integer = strtoll(text, NULL, 10)};
    else if (type == OID_FLOAT8 || type == OID_FLOAT4)
        value = (struct sql_value){.type = SQL_REAL, .real = strtod_l(text, NULL, pool->c_locale)};
    else if (type == OID_JSON || type == OID_JSONB)
        value.type = SQL_JSON;
    else if (type == OID_BYTEA) {
        put_bytes(pool, value.bytes, out);
        return;
    } else if (type == OID_TIMESTAMP || type == OID_TIMESTAMPTZ) {
        put_time(pool, value.bytes, out);
        return;
    }
    sql_put(out, &value);
}
