/* The C halves of the Lua library. One file per module, one table entry in bind.c, one annotated
 * stub in lua/buntime/_meta. These files include Lua; none includes h2o.
 *
 * Every module is named buntime.core.NAME and is reached by the Lua library only; plugin code
 * uses buntime.NAME.
 */
#pragma once

#include <lua.h>

struct exchange;
struct metric_route;

/* vm_options.open: registers every module in package.preload. */
int bind_open(lua_State *L);

int bind_auth_open(lua_State *L);    /* who may use the control plane */
int bind_control_open(lua_State *L); /* plugins and reloads, for the control plane's VM alone */
int bind_keys_open(lua_State *L);    /* keys and sessions, for the control plane's VM alone */
int bind_fetch_open(lua_State *L);   /* HTTP requests to other servers */
int bind_file_open(lua_State *L);    /* files as responses */
int bind_fs_open(lua_State *L);      /* files of the plugin's folders */
int bind_metrics_open(lua_State *L); /* the page of counters, for the control plane's VM alone */
int bind_shared_open(lua_State *L);  /* the dictionary of the process */
int bind_semver_open(lua_State *L);  /* versions and ranges */
int bind_service_open(lua_State *L); /* getPlugin and calls between plugins */
int bind_cron_open(lua_State *L);    /* schedules */
int bind_crypto_open(lua_State *L);  /* digests, HMAC, encodings, signatures */
int bind_json_open(lua_State *L);    /* encode, decode, array, null */
int bind_request_open(lua_State *L); /* the request object */
int bind_route_open(lua_State *L);   /* the route tree */
int bind_sqlite_open(lua_State *L);  /* databases */
int bind_stream_open(lua_State *L);  /* bodies that a Lua function writes */
int bind_sys_open(lua_State *L);     /* version, log, env, clocks, uuid, url coding */
int bind_task_open(lua_State *L);    /* spawn, wait, cancel */
int bind_timer_open(lua_State *L);   /* sleep, after, every */

int bind_packages_open(lua_State *L);  /* installing plugins, for the control plane's VM alone */
int bind_pool_open(lua_State *L);      /* what the pool of worker processes counts */
int bind_postgres_open(lua_State *L);  /* PostgreSQL */
int bind_redis_open(lua_State *L);     /* Redis */
int bind_replicas_open(lua_State *L);  /* other servers, for the control plane's VM alone */
int bind_workers_open(lua_State *L);   /* worker apps, for the control plane's VM alone */
int bind_multipart_open(lua_State *L); /* forms, and their files */
int bind_websocket_open(lua_State *L); /* sockets */

/* Pushes the request object for `x`, with `strip` bytes of its path hidden (the plugin's base).
 * The object is closed by bind_request_close(); after that reading from it raises.
 */
struct bind_request;
struct bind_request *bind_request_push(lua_State *L, struct exchange *x, size_t strip);
/* Where the request is to be counted, as far as a route of the plugin matched; else NULL. */
struct metric_route *bind_request_series(const struct bind_request *request);
void bind_request_close(struct bind_request *request); /* NULL is fine */
