/* Requests that wait, first come first served. */
#include "data/sqlite_impl.h"

void sqlite_queue_init(struct queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

void sqlite_queue_add(struct queue *q, struct sqlite_request *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
}

void sqlite_queue_put_first(struct queue *q, struct sqlite_request *r)
{
    r->next = q->first;
    if (!q->first)
        q->last = &r->next;
    q->first = r;
}

struct sqlite_request *sqlite_queue_take(struct queue *q)
{
    struct sqlite_request *r = q->first;

    if (r) {
        q->first = r->next;
        if (!q->first)
            q->last = &q->first;
        r->next = NULL;
    }
    return r;
}

bool sqlite_queue_remove(struct queue *q, struct sqlite_request *r)
{
    for (struct sqlite_request **slot = &q->first; *slot; slot = &(*slot)->next) {
        if (*slot != r)
            continue;
        *slot = r->next;
        if (q->last == &r->next)
            q->last = slot;
        r->next = NULL;
        return true;
    }
    return false;
}
