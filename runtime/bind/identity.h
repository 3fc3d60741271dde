/* Who calls the control plane, as a table (buntime.Caller in lua/buntime/_meta/auth.lua). */
#pragma once

#include <lua.h>

struct denial;
struct exchange;
struct identity;

void identity_push(lua_State *L, const struct identity *who);

/* false, status, code, message, principal, retry_after; returns their number. */
int identity_push_denial(lua_State *L, const struct identity *who, const struct denial *denial);

void identity_push_permissions(lua_State *L, unsigned permissions); /* a list of names */
void identity_push_words(lua_State *L, const char *text);           /* of "@a @b" a list */
