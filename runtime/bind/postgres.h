/* What bind_postgres.c and postgres_listen.c share. */
#pragma once

#include <stdbool.h>

#include <lua.h>

#include "bind/subscription.h"
#include "data/postgres.h"
#include "vm/vm.h"

#define POSTGRES_TYPE "buntime.postgres"
#define POSTGRES_TX_TYPE "buntime.postgres.transaction"

struct lua_postgres {
    struct resource resource; /* first: close_resource() casts back */
    struct postgres *pool;    /* NULL: closed */
    struct subscription *subscriptions;
};

/* The database at 1. False: pushes nil and why not. */
bool postgres_check_db(lua_State *L, struct lua_postgres **db);

void postgres_push_error(lua_State *L, const struct postgres_error *error, const char *statement);

/* --- postgres_listen.c --- */
void postgres_listen_register(lua_State *L); /* its type; `listener` of the module on top */
int postgres_listen_on(lua_State *L);
int postgres_listen_stop(lua_State *L);
