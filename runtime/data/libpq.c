#include "data/libpq.h"

#include "base/library.h"

struct libpq pq;

#define ROW(name) {"PQ" #name, offsetof(struct libpq, name)},

static const struct library_function functions[] = {LIBPQ_FUNCTIONS(ROW)};

bool pq_load(struct err *err)
{
    struct libpq loaded;

    if (pq.connectPoll)
        return true;
    if (!library_load("libpq.so.5", functions, sizeof(functions) / sizeof(functions[0]), &loaded,
                      "NOT_SUPPORTED", err))
        return false;
    pq = loaded;
    return true;
}
