/* How an app reaches the network: the server connects for it.
 *
 * A worker may make TCP sockets if its manifest names hosts in permissions.net, but seccomp refuses
 * it connect(). In its place the process has a socketpair to the server, the gate. connect() and
 * getaddrinfo() of the worker, as libcurl, libpq, hiredis and Lua modules call them, are ours
 * (gate_worker.c) and ask there. The server looks names up, remembers what was found, makes and
 * connects the socket, and hands it over. Nothing that the app does afterwards can change where
 * that socket leads; what does not go through the gate does not get out.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct gate;
struct loop;

struct gate_options {
    struct loop *loop;
    const char *const *net; /* permissions.net; borrowed until gate_new() returns */
    void *app;
    /* The worker asked for what its manifest does not name; once for each, and a bounded number. */
    void (*refused)(void *app, const char *what);
};

/* The server's end. Owns `fd`, also when it fails. */
struct gate *gate_new(const struct gate_options *options, int fd, struct err *err);
void gate_free(struct gate *gate); /* NULL is fine */

/* Both ends, closed on exec: [0] for gate_new(), [1] for the worker. */
bool gate_pair(int fds[2], struct err *err);

/* In the worker: from now on connect() and getaddrinfo() ask through `fd`. */
void gate_enter(int fd);
