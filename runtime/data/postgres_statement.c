/* Prepared statements of a connection. A statement is prepared when it comes a second time, so that
 * those which come once cost one round trip and no memory of the server's.
 */
#include "data/postgres_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { NAME_SIZE = 16 };

static uint64_t hash_of(const struct buf *key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (size_t i = 0; i < key->len; i++)
        hash = (hash ^ (unsigned char)key->data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The statement, and which of its values are blobs: those are declared as bytea. */
static void make_key(const struct postgres_request *r, struct buf *key)
{
    const char *at = r->values.data;

    buf_reset(key);
    buf_add(key, r->sent.data, r->sent.len);
    buf_putc(key, '\0');
    for (unsigned i = 0; i < r->value_count; i++) {
        struct sql_value value;

        at = sql_get(at, &value);
        if (value.type == SQL_BLOB)
            buf_printf(key, "%u ", i);
    }
}

static struct pg_statement *find(struct pg_conn *c, const struct buf *key, uint64_t hash)
{
    for (unsigned i = 0; i < c->statement_count; i++) {
        struct pg_statement *s = &c->statements[i];

        if (s->hash == hash && s->len == key->len && memcmp(s->key, key->data, key->len) == 0)
            return s;
    }
    return NULL;
}

static struct pg_statement *oldest(struct pg_conn *c)
{
    struct pg_statement *found = &c->statements[0];

    for (unsigned i = 1; i < c->statement_count; i++) {
        if (c->statements[i].used < found->used)
            found = &c->statements[i];
    }
    return found;
}

/* A place for one more; the statement that had it is to be forgotten if the server knows it. */
static struct pg_statement *make_place(struct pg_conn *c, unsigned most)
{
    struct pg_statement *s;

    if (c->statement_count < most)
        return &c->statements[c->statement_count++];
    s = oldest(c);
    c->forgotten = s->prepared ? s->id : 0;
    free(s->key);
    return s;
}

enum pg_step pg_statement_choose(struct pg_conn *c, const struct postgres_request *r)
{
    const unsigned most = c->pool->limits.statements;
    struct buf *key = &c->pool->scratch;
    struct pg_statement *s;
    uint64_t hash;

    c->statement = NULL;
    c->forgotten = 0;
    if (most == 0)
        return PG_STEP_RUN;
    make_key(r, key);
    hash = hash_of(key);
    s = find(c, key, hash);
    if (s) {
        s->used = ++c->clock;
        c->statement = s;
        return s->prepared ? PG_STEP_RUN : PG_STEP_PREPARE;
    }
    s = make_place(c, most);
    *s = (struct pg_statement){
        .key = mem_copy_n(key->data, key->len),
        .len = key->len,
        .hash = hash,
        .used = ++c->clock,
        .id = ++c->last_statement,
    };
    return c->forgotten ? PG_STEP_FORGET : PG_STEP_RUN;
}

static bool prepare(struct pg_conn *c, struct postgres_request *r, const struct pg_params *params)
{
    char name[NAME_SIZE];

    snprintf(name, sizeof(name), "s%u", c->statement->id);
    return pq.sendPrepare(c->pg, name, r->sent.data, (int)r->value_count, params->types);
}

static bool run(struct pg_conn *c, struct postgres_request *r, const struct pg_params *params)
{
    char name[NAME_SIZE];
    int sent;

    if (c->statement) {
        snprintf(name, sizeof(name), "s%u", c->statement->id);
        sent = pq.sendQueryPrepared(c->pg, name, (int)r->value_count, params->values,
                                    params->lengths, params->formats, 0);
    } else {
        sent = pq.sendQueryParams(c->pg, r->sent.data, (int)r->value_count, params->types,
                                  params->values, params->lengths, params->formats, 0);
    }
    return sent && pq.setSingleRowMode(c->pg);
}

bool pg_statement_send(struct pg_conn *c, struct postgres_request *r)
{
    struct pg_params params;
    bool sent;

    pg_params_init(&params, r);
    sent = c->step == PG_STEP_PREPARE ? prepare(c, r, &params) : run(c, r, &params);
    pg_params_fini(&params);
    return sent;
}

void pg_statement_drop(struct pg_conn *c)
{
    struct pg_statement *last = &c->statements[c->statement_count - 1];

    if (!c->statement)
        return;
    free(c->statement->key);
    if (c->statement != last)
        *c->statement = *last;
    c->statement_count--;
    c->statement = NULL;
}

void pg_statements_free(struct pg_conn *c)
{
    for (unsigned i = 0; i < c->statement_count; i++)
        free(c->statements[i].key);
    c->statement_count = 0;
}
