/* A temporary file of a request's upload. It is removed when the request is over, unless it was
 * renamed meanwhile: nothing else ever has its name.
 */
#pragma once

#include "data/uploads.h"
#include "ev/loop.h"

struct upload {
    struct job job; /* first: work() and done() cast back */
    struct upload *next;
    struct loop *loop;
    char *root; /* the data folder */
    char path[UPLOAD_PATH_MAX];
    int fd; /* locks it; -1: it was not made */
};

struct upload *upload_new(struct loop *loop, const char *root);
void upload_drop(struct upload *upload);
void uploads_drop(struct upload *first); /* a whole list */
