#include "data/resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

static struct resolved *add(struct resolve *resolve, unsigned name)
{
    const size_t count = resolve->count + 1u;
    struct resolved *found;

    resolve->found = mem_resize(resolve->found, count * sizeof(*resolve->found));
    found = &resolve->found[resolve->count++];
    *found = (struct resolved){.name = name};
    return found;
}

static void look_up(struct resolve *resolve, unsigned name)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *text = resolve->names[name];
    struct addrinfo *list = NULL;
    const int rc = getaddrinfo(text, NULL, &hints, &list);

    if (rc != 0) {
        snprintf(resolve->problem, sizeof(resolve->problem), "cannot find host \"%.100s\": %s",
                 text, gai_strerror(rc));
        return;
    }
    for (const struct addrinfo *info = list; info; info = info->ai_next) {
        struct resolved *found = add(resolve, name);

        if (getnameinfo(info->ai_addr, info->ai_addrlen, found->address, sizeof(found->address),
                        NULL, 0, NI_NUMERICHOST) != 0)
            resolve->count--;
    }
    freeaddrinfo(list);
}

static void work(struct job *job)
{
    struct resolve *resolve = (struct resolve *)job;

    for (unsigned i = 0; i < resolve->name_count; i++) {
        const char *name = resolve->names[i];

        if (name[0] == '/' || name[0] == '@' || name[0] == '\0')
            add(resolve, i);
        else
            look_up(resolve, i);
    }
}

static void done(struct job *job)
{
    struct resolve *resolve = (struct resolve *)job;

    resolve->done(resolve);
}

void resolve_start(struct loop *loop, struct resolve *resolve)
{
    resolve->job.work = work;
    resolve->job.done = done;
    resolve->found = NULL;
    resolve->count = 0;
    resolve->problem[0] = '\0';
    loop_submit(loop, &resolve->job);
}

void resolve_fini(struct resolve *resolve)
{
    free(resolve->found);
    resolve->found = NULL;
}
