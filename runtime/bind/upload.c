#include "bind/upload.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/files.h"

struct upload *upload_new(struct loop *loop, const char *root)
{
    struct upload *upload = mem_alloc(sizeof(*upload));

    upload->loop = loop;
    upload->root = mem_copy(root);
    upload->fd = -1;
    return upload;
}

static void work(struct job *job)
{
    const struct upload *upload = (struct upload *)job;
    int root;

    if (files_root(upload->root, false, &root) == 0) {
        files_remove(root, upload->path, false);
        close(root);
    }
    close(upload->fd);
}

static void done(struct job *job)
{
    struct upload *upload = (struct upload *)job;

    free(upload->root);
    free(upload);
}

void upload_drop(struct upload *upload)
{
    upload->job.work = work;
    upload->job.done = done;
    if (upload->fd < 0)
        done(&upload->job);
    else
        loop_submit(upload->loop, &upload->job);
}

void uploads_drop(struct upload *first)
{
    while (first) {
        struct upload *next = first->next;

        upload_drop(first);
        first = next;
    }
}
