/* A worker process: one app's code, spoken to by the server over a link (worker/frame.h).
 *
 * worker.c          the process: its beginning, its link, its end
 * worker_sandbox.c  what it may do from now on, as the kernel enforces it
 * worker_vm.c       a VM with the app's code in it: one for all requests, or a new one for each
 * worker_request.c  the requests
 *
 * The loop, the library and the bindings are those of the server process; the app is the only
 * instance. Not for other files.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/fields.h"
#include "conf/settings.h"
#include "ev/channel.h"
#include "ev/loop.h"
#include "worker/frame.h"
#include "worker/page.h"

struct instance;
struct manifest;
struct plugins;
struct shared;
struct visit;
struct watchdog;

enum worker_entry { WORKER_ANSWER, WORKER_IDLE, WORKER_TERMINATE, WORKER_ENTRIES };

struct worker {
    struct loop *loop;
    struct channel channel;
    struct worker_page *page;
    struct settings settings;
    struct env_source env;
    struct manifest *manifest;
    struct plugins *plugins;
    struct shared *shared;
    struct watchdog *watchdog;
    struct job threads;      /* makes the pool start its threads */
    char *data;              /* the folder of files that are named without a place */
    char *id, *name, *entry; /* entry: the path of the app's file */
    struct buf code;         /* the app's file, compiled, for further VMs */
    size_t memory;
    bool fresh, development, sealed;
    bool plain_root; /* see vm_shadows_library() */
    bool announced;  /* that it is ready */
    bool ending;
    struct instance *in; /* the VM; NULL: there is none */
    int entries[WORKER_ENTRIES];
    bool loaded;
    bool used; /* with `fresh`: a request has had this VM */
    struct post renew, close;
    struct visit *visits;                  /* that are in the VM */
    struct visit *uploads;                 /* whose body is still coming */
    struct visit *waiting, **last_waiting; /* for the VM to be loaded */
};

/* worker.c */
struct buf *worker_out(struct worker *worker);
void worker_fault(struct worker *worker, const struct err *err, const char *request_id);
void worker_loaded(struct worker *worker);
void worker_load_failed(struct worker *worker, const struct err *err);

/* worker_sandbox.c */
bool worker_confine(const struct frame_hello *hello, struct err *err);
/* After the process has started what threads it needs. */
bool worker_seal(struct worker *worker, struct err *err);

/* worker_vm.c */
void worker_vm_open(struct worker *worker); /* ends in worker_loaded() or worker_load_failed() */
void worker_vm_close(struct worker *worker);
struct task *worker_vm_task(struct worker *worker, enum worker_entry entry, struct err *err);
bool worker_vm_has(const struct worker *worker, enum worker_entry entry);

/* worker_request.c */
void visit_frame(struct worker *worker, const struct frame *frame);
void visits_go_on(struct worker *worker); /* those that waited for the VM */
void visits_fail(struct worker *worker, const struct err *err);
void visits_end_events(struct worker *worker);
